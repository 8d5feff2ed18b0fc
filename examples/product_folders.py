"""A source of your own: a folder a product, with a description beside its photos."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source, existing_root


@dataclass(kw_only=True)
class ProductFolders(Source):
    """`<root>/<product>/product.json` and the product's photos, `*.jpg`.

    Args:
        root: the folder of products.
    """

    root: str

    def identity(self) -> dict[str, Any]:
        """Options that decide the items, besides those of every source: here there are none."""
        return {}

    def files(self) -> Iterator[tuple[str, Path]]:
        """What decides the items: a change of any file's content prepares the set anew."""
        root = self._root()
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            yield str(path.relative_to(root)), path

    def items(self, report: Report) -> Iterator[Item]:
        """A photo an item. Every row counts as read, and is kept here or dropped with a reason."""
        for folder in sorted(path for path in self._root().iterdir() if path.is_dir()):
            photos = sorted(folder.glob("*.jpg"))
            report.rows_in += len(photos)
            try:
                told = json.loads((folder / "product.json").read_text(encoding="utf-8"))
            except (OSError, ValueError) as e:
                for photo in photos:
                    report.drop("no readable product.json", f"{photo}: {e}")
                continue
            for photo in photos:
                yield Item(
                    item_id=f"{folder.name}/{photo.stem}",
                    image=photo,
                    text=told.get("title", ""),
                    category=told.get("category") or "unknown",
                    product_id=folder.name,
                    attributes={name: told.get(name) or "unknown" for name in self.attributes},
                    origin=str(photo),
                )

    def _root(self) -> Path:
        return existing_root(self.root, key="data.root", layout="a folder a product")
