"""DeepFashion's attributes, on a small copy of their layout with their quirks in it."""

from pathlib import Path

import pytest

from support.official_sets import Prepare, listed
from support.sources import balanced, photo, rows


@pytest.mark.parametrize("annotation", ["coarse", "fine"])
def test_category_and_attribute_quirks(annotation: str, tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    names = [f"img/Striped_Tee/img_0000000{i}.jpg" for i in range(1, 6)]
    statuses = ["train", "train", "val", "test", "test"]
    lines = [f"{name}   {status}" for name, status in zip(names, statuses, strict=True)]
    listed(root / "Eval" / "list_eval_partition.txt", "image_name evaluation_status", *lines[:4])
    folder = root / f"Anno_{annotation}"
    listed(folder / "list_category_cloth.txt", "category_name category_type", "Anorak   1",
           "Tee  1")  # fmt: skip
    numbers = [2, 1, 2, 0, 1]
    listed(folder / "list_category_img.txt", "image_name category_label",
           *(f"{name}  {number}" for name, number in zip(names, numbers, strict=True)))  # fmt: skip
    listed(folder / "list_attr_cloth.txt", "attribute_name attribute_type", "red striped   1",
           "crew neckline  4", "faux leather 2")  # fmt: skip
    listed(folder / "list_attr_img.txt", "image_name attribute_labels",
           *(f"{name}  1 {'1' if i else '-1'}  0" for i, name in enumerate(names)))  # fmt: skip
    for seed, name in enumerate(names):
        photo(root / name, seed)
    table = made("deepfashion_attributes", f"data.annotation={annotation}")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"photo in no split": 1}
    assert found[names[0]]["category"] == "Tee"  # ids count from 1
    assert found[names[0]]["pattern"] == "striped"  # of the name with a blank in it
    assert found[names[0]]["neckline"] == "unknown"  # -1 is no
    assert found[names[1]]["neckline"] == "crew"
    assert found[names[1]]["material"] == "unknown"  # 0 says nothing
    assert found[names[3]]["category"] == "unknown"  # not the last of the list, as [-1] would be
    assert found[names[2]]["split"] == "validation"
    assert all(row["product_id"] is None for row in found.values())
