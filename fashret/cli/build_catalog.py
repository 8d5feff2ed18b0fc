"""`python build_catalog.py`: the embeddings of a data set, as files."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("build_catalog", build_catalog)


def build_catalog(cfg: DictConfig) -> None:
    """Build one catalog, or find it whole, and say where it is."""
    from pathlib import Path

    from fashret.catalog.store import verify
    from fashret.pipelines.checkpoints import embedding_catalog, named_checkpoint
    from fashret.pipelines.session import Setup, check_composed

    check_composed(cfg, "build_catalog")
    cfg, state = named_checkpoint(cfg)
    setup = Setup.of(cfg, together=True)
    folder = None if cfg.catalog.dir is None else Path(cfg.catalog.dir).expanduser()
    catalog = embedding_catalog(setup, state, folder)
    if not setup.team.only_first():
        return
    verify(catalog)
    print(f"{len(catalog)} items, {catalog.manifest['dim']} dimensions, verified: {catalog.folder}")


if __name__ == "__main__":
    main()
