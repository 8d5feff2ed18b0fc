"""`fashret view`: write a page of a prepared data set, to inspect and correct it."""

from shutil import get_terminal_size

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("view", view)


def view(cfg: DictConfig) -> None:
    """Prepare the data, and write its page."""
    from fashret.cli.options import Composed
    from fashret.config import build
    from fashret.pipelines.view import write_view

    composed = Composed.checked(cfg, "view")
    overview, page = write_view(composed.session(), build(cfg.view))
    print(
        f"{overview.wrapped(get_terminal_size().columns)}\n"
        f"page: {page}\n"
        f"products of several photos: {page.with_name('groups.json')}, the least certain in "
        "groups_audit.csv\n"
        f"to correct items, fill in {page.with_name('overrides.csv')} and pass it as "
        "data.overrides=<that file>"
    )


if __name__ == "__main__":
    main()
