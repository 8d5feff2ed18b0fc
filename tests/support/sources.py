"""Small data sets on disk, and what their preparation gave."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashret.data.augment import Augment
from fashret.data.items import ItemTable
from fashret.data.sources import Folder

COMMON: dict[str, Any] = {
    "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "seed": 0,
    "split_seed": 0,
    "batch_size": 8,
    "num_workers": 0,
    "augment": Augment(flip=0.5, crop=0.1),
    "tiers": {},
    "groups": None,
    "schema": None,
}


def photo(path: Path, seed: int = 0) -> Path:
    """Write a photo of noise, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folder(root: Path, **options: Any) -> Folder:
    """A source of the photos below a folder."""
    attributes = options.pop("attributes", ["neckline", "colour"])
    return Folder(name="mine", attributes=attributes, root=str(root), **COMMON | options)


def rows(table: ItemTable) -> dict[str, dict[str, Any]]:
    """The rows of a table by item id, without photos."""
    columns = [name for name in table.dataset.column_names if name != "image"]
    return {row["item_id"]: row for row in table.dataset.select_columns(columns)}


def balanced(table: ItemTable) -> dict[str, Any]:
    """The report of a table, in which every row is accounted for."""
    report = table.report
    assert report["rows_in"] == report["rows_kept"] + sum(report["dropped"].values())
    assert report["rows_kept"] == len(table)
    return report
