"""`fashret catalog`: build the catalog of a data set's embeddings."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from fashret.cli.command import run
from fashret.disk import readable_bytes


def main() -> None:
    """The console command."""
    run("build_catalog", build_catalog)


def build_catalog(cfg: DictConfig) -> None:
    """Build a catalog, or open it if it exists, and print its folder."""
    from fashret.cli.options import Composed, catalog_options
    from fashret.pipelines import catalog as pipeline

    catalog = pipeline.build_catalog(catalog_options(Composed.checked(cfg, "build_catalog")))
    if catalog is not None:
        print(
            f"{len(catalog)} items, {catalog.manifest['dim']} dimensions, verified: "
            f"{catalog.folder}"
        )
        for line in _described(catalog.manifest):
            print(line)


def _described(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The last update and the index of a catalog, in words."""
    if history := manifest.get("history"):
        last = history[-1]
        yield (
            f"version {last['version']}: {last['added']} items added, {last['changed']} changed, "
            f"{last['removed']} removed"
        )
    index = manifest.get("index")
    if index and index["version"] == manifest.get("version", 1):
        recall = ", ".join(f"{value:.3f} ({kind})" for kind, value in index["recall"].items())
        size = f", {readable_bytes(index['bytes'])}" if "bytes" in index else ""
        yield (
            f"index {index['kind']}: recall@10 {recall}; a query takes {index['ms_per_query']:.2f} "
            f"ms, exactly {index['ms_per_query_exact']:.2f} ms{size}"
        )


if __name__ == "__main__":
    main()
