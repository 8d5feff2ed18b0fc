"""`fashret-view`: a page of a prepared set, to look at and to correct."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("view", view)


def view(cfg: DictConfig) -> None:
    """Prepare the data, and write a page of it."""
    from fashret.config import build
    from fashret.pipelines.session import Setup, check_composed
    from fashret.pipelines.systems import System
    from fashret.reports.viewer import Lookalikes, Viewer

    check_composed(cfg, "view")
    viewer: Viewer = build(cfg.view)
    setup = Setup.of(cfg)
    lookalikes = None
    if viewer.alike is not None and len(setup.table) > 1:
        image = System.untrained(setup).embeddings.image.float()
        lookalikes = Lookalikes.among(image, setup.table.products(), viewer.alike)
    page = viewer.write(setup.output_dir, setup.table, setup.source, lookalikes)
    print(
        f"look at it: {page}\n"
        f"correct by hand: {page.with_name('overrides.csv')}, then data.overrides=<that file>"
    )


if __name__ == "__main__":
    main()
