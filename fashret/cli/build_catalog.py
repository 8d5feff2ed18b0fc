"""`fashret catalog`: build the catalog of a data set's embeddings."""

from omegaconf import DictConfig

from fashret.cli.command import run


def main() -> None:
    """The console command."""
    run("build_catalog", build_catalog)


def build_catalog(cfg: DictConfig) -> None:
    """Build a catalog, or open it if it exists, and print its folder."""
    from fashret.cli.compose import Composed, catalog_options
    from fashret.pipelines import catalog as pipeline

    catalog = pipeline.build_catalog(catalog_options(Composed.checked(cfg, "build_catalog")))
    if catalog is not None:
        print(
            f"{len(catalog)} items, {catalog.manifest['dim']} dimensions, verified: "
            f"{catalog.folder}"
        )


if __name__ == "__main__":
    main()
