"""Polyvore Outfits, on a small copy of its layout with its quirks in it."""

import json
from pathlib import Path

import pytest

from support.official_sets import Prepare, write
from support.sources import balanced, photo, rows


@pytest.mark.parametrize("version", ["disjoint", "nondisjoint"])
def test_polyvore_quirks(version: str, tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    keys = ("url_name", "title", "semantic_category", "category_id")
    entries = [
        ("red shoe", "", "shoes", "41"),
        ("x", "Striped tee", "tops", "9"),
        ("bag", "Bag", "bags", "9"),
        ("hat", "Hat", "hats", "9"),
    ]
    metadata = {str(i): dict(zip(keys, e, strict=True)) for i, e in enumerate(entries, start=1)}
    write(root / "polyvore_item_metadata.json", json.dumps(metadata))
    write(root / "categories.csv", "41,pumps,shoes", "7,coats,outerwear")

    def outfits(*items: str) -> str:
        return json.dumps([{"set_id": "s", "items": [{"item_id": i, "index": 1} for i in items]}])

    shared = ("3",) if version == "nondisjoint" else ()
    for name, items in {"train": ("1", *shared), "valid": ("2",), "test": ("3",)}.items():
        write(root / version / f"{name}.json", outfits(*items))
    for seed, name in enumerate("1234"):
        photo(root / "images" / f"{name}.jpg", seed)
    table = made("polyvore", f"data.version={version}")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {f"in no outfit of {version}": 1}
    assert found["1"]["text"] == "red shoe"  # no title: the name in its address
    assert (found["1"]["category"], found["2"]["category"]) == ("pumps", "tops")
    assert (found["2"]["text"], found["2"]["pattern"]) == ("Striped tee", "striped")
    assert found["3"]["split"] == "test"  # held out, though an outfit of train has it too
    assert report["repaired"].get("in outfits of several splits: held out", 0) == len(shared)
