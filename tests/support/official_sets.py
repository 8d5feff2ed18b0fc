"""Small copies of official sets, in their layout on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from fashret.data.items import ItemTable
from support.sources import photo

Prepare = Callable[..., ItemTable]


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def listed(path: Path, header: str, *lines: str, count: int | None = None) -> None:
    write(path, str(len(lines) if count is None else count), header, *lines)


def fashioniq(root: Path) -> None:
    """Two kinds; a photo in both; one missing, one torn; a test without targets."""
    splits = {
        ("dress", "train"): ["A", "B"], ("dress", "val"): ["C", "D", "E", "F"],
        ("dress", "test"): ["T"], ("shirt", "val"): ["C", "G", "H"],
    }  # fmt: skip
    for (kind, split), names in splits.items():
        write(root / "image_splits" / f"split.{kind}.{split}.json", json.dumps(names))
    for seed, name in enumerate("ABCDEGT"):
        photo(root / "images" / f"{name}.{'png' if name == 'B' else 'jpg'}", seed)
    write(root / "images" / "F.jpg", "torn")

    def wish(candidate: str, target: str | None, *captions: str) -> dict[str, Any]:
        target_of = {} if target is None else {"target": target}
        return {"candidate": candidate, **target_of, "captions": list(captions)}

    captions = {
        ("dress", "train"): [wish("A", "B", "is red", "has longer sleeves")],
        ("dress", "val"): [
            wish("C", "D", "is blue", "is shorter"), wish("D", "F", "is torn", "is gone"),
            wish("D", "C", "is red", "is long"),
        ],
        ("dress", "test"): [wish("T", None, "is green", "is plain")],
        ("shirt", "val"): [wish("C", "G", "has stripes", "is a shirt")],
    }  # fmt: skip
    for (kind, split), said in captions.items():
        write(root / "captions" / f"cap.{kind}.{split}.json", json.dumps(said))


def saved(folder: Path, **splits: dict[str, list[Any]]) -> None:
    made = {}
    for name, columns in splits.items():
        count = len(columns["item_ID"]) if "item_ID" in columns else len(columns["category"])
        noise = np.random.default_rng(len(name)).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
        images = [Image.fromarray(pixels) for pixels in noise]
        made[name] = datasets.Dataset.from_dict({"image": images, **columns})
    datasets.DatasetDict(made).save_to_disk(str(folder))


def inshop(root: Path) -> None:
    lines = []
    for product in range(8):
        status = "train" if product < 4 else ""
        for view in range(4):
            name = f"img/WOMEN/Dresses/id_{product:08d}/01_{view}_front.jpg"
            photo(root / name, 10 * product + view)
            lines.append(f"{name} id_{product:08d} {status or ('query', 'gallery')[view % 2]}")
    listed(root / "Eval" / "list_eval_partition.txt", "image_name item_id status", *lines)
