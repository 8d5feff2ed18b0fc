"""`fashret view`: a page of a prepared set, to look at and to correct."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("view", view)


def view(cfg: DictConfig) -> None:
    """Prepare the data, and write a page of it."""
    from fashret.cli.compose import Composed
    from fashret.config import build
    from fashret.pipelines.view import write_view

    composed = Composed.checked(cfg, "view")
    page = write_view(composed.session(), build(cfg.view))
    print(
        f"look at it: {page}\n"
        f"correct by hand: {page.with_name('overrides.csv')}, then data.overrides=<that file>"
    )


if __name__ == "__main__":
    main()
