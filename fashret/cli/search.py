"""`fashret search`: find items by text, photo or both."""

import argparse
import sys
from pathlib import Path


def main() -> None:
    """The console command."""
    parser = argparse.ArgumentParser(
        prog="fashret search",
        description="Find the items of a run's data set, or of a catalog folder.",
        epilog='fashret search outputs/train/<run> "red cardigan" --where category=cardigans',
    )
    parser.add_argument("source", help="a run folder, or a catalog folder")
    parser.add_argument("text", nargs="?", help="the query text")
    parser.add_argument("--image", help="the query photo")
    parser.add_argument("-k", type=int, default=10, help="the number of hits (default: 10)")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only items with this value of the category or an attribute",
    )
    parser.add_argument(
        "--by", default="item", help="item, or product: the best photo of each (default: item)"
    )
    parser.add_argument("--html", type=Path, help="also write an HTML page with the photos")
    given = parser.parse_args()

    from fashret.catalog.folder import MANIFEST
    from fashret.cli.composing import index_of_run
    from fashret.errors import ConfigError, FashretError
    from fashret.pipelines.search import Index
    from fashret.reports.screen import console, show_table

    try:
        where: dict[str, list[str]] = {}
        for one in given.where:
            name, equals, value = one.partition("=")
            if not equals:
                raise ConfigError(f"--where {one}: must be NAME=VALUE, such as category=dress")
            where.setdefault(name, []).append(value)
        folder = Path(given.source).expanduser()
        is_catalog = (folder / MANIFEST).is_file()
        index = Index.from_catalog(folder) if is_catalog else index_of_run(folder)
        result = index.search(
            text=given.text, image=given.image, k=given.k, where=where, by=given.by
        )
        if given.html is not None:
            given.html.write_text(result._repr_html_())
    except FashretError as e:
        sys.exit(f"error: {e}")
    rows = [[f"{hit.score:.3f}", hit.item_id, hit.text[:60]] for hit in result]
    show_table(console(), ["score", "item", "text"], rows)
    if given.html is not None:
        print(f"page: {given.html}")


if __name__ == "__main__":
    main()
