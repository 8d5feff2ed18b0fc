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
    parser.add_argument("text", nargs="?", help="what is looked for")
    parser.add_argument("--image", help="a photo that is asked with")
    parser.add_argument("-k", type=int, default=10, help="how many items (10)")
    parser.add_argument(
        "--where", action="append", default=[], metavar="NAME=VALUE", help="only items with a value"
    )
    parser.add_argument("--html", type=Path, help="write a page with the photos as well")
    given = parser.parse_args()

    from fashret.catalog.store import MANIFEST
    from fashret.cli.composing import index_of_run
    from fashret.errors import ConfigError, FashretError
    from fashret.pipelines.search import Index
    from fashret.reports.screen import console, show_table

    try:
        where: dict[str, list[str]] = {}
        for one in given.where:
            name, equals, value = one.partition("=")
            if not equals:
                raise ConfigError(f"--where {one}: give it as NAME=VALUE")
            where.setdefault(name, []).append(value)
        folder = Path(given.source).expanduser()
        is_catalog = (folder / MANIFEST).is_file()
        index = Index.from_catalog(folder) if is_catalog else index_of_run(folder)
        found = index.search(text=given.text, image=given.image, k=given.k, where=where)
        if given.html is not None:
            given.html.write_text(found._repr_html_())
    except FashretError as e:
        sys.exit(f"error: {e}")
    rows = [[f"{hit.score:.3f}", hit.item_id, hit.text[:60]] for hit in found]
    show_table(console(), ["score", "item", "text"], rows)
    if given.html is not None:
        print(f"look at it: {given.html}")


if __name__ == "__main__":
    main()
