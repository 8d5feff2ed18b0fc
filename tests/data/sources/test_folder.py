"""Folders of photos, with a table or without."""

from pathlib import Path

import pandas as pd
import pytest

from fashret.data.preparation import prepare
from fashret.data.sources import Folder
from fashret.errors import ConfigError, DataError
from support.sources import balanced, folder, photo, rows


def test_class_sub_folders_are_categories(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for category in ("dresses", "shirts"):
        for i in range(6):
            photo(root / category / f"{i}.png", seed=i)
    table = prepare(folder(root), tmp_path)
    found = rows(table)
    assert found["dresses/0.png"]["category"] == "dresses"
    assert set(table.splits) == {"train", "validation", "test"}
    assert found["dresses/0.png"]["neckline"] == "unknown"
    assert found["dresses/0.png"]["product_id"] is None


def test_split_folders_are_splits(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for split in ("train", "val", "test"):
        photo(root / split / "skirts" / f"{split}.jpg")
    found = rows(prepare(folder(root), tmp_path))
    assert found["val/skirts/val.jpg"]["split"] == "validation"
    assert found["val/skirts/val.jpg"]["category"] == "skirts"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_is_read_by_its_columns(tmp_path: Path, form: str) -> None:
    root = tmp_path / "shop"
    lines = [
        {
            "item_id": f"00{i}",
            "image": str(photo(root / "img" / f"{i}.jpg", seed=i).relative_to(root)),
            "text": f"A shirt, no. {i}",
            "category": "shirts",
            "product_id": f"p{i // 2}",
            "neckline": "v_neck" if i % 2 else "",
            "shade": "red",
        }
        for i in range(12)
    ]
    lines.append(lines[0] | {"item_id": "x1", "image": "img/none.jpg"})
    lines.append(lines[0] | {"item_id": "x2", "image": "../../etc/passwd"})
    lines.append(lines[0] | {"item_id": "x3", "image": ""})
    frame = pd.DataFrame(lines)
    if form == "csv":
        frame.to_csv(root / "items.csv", index=False)
    elif form == "jsonl":
        frame.to_json(root / "items.jsonl", orient="records", lines=True)
    else:
        frame.to_parquet(root / "items.parquet")
    table = prepare(folder(root, table=f"items.{form}", columns={"colour": "shade"}), tmp_path)
    found = rows(table)
    assert found["001"]["neckline"] == "v_neck"
    assert found["000"]["neckline"] == "unknown"
    assert found["003"]["colour"] == "red"
    assert found["000"]["split"] == found["001"]["split"]  # one product
    assert balanced(table)["dropped"] == {
        "missing photo": 1,
        "image outside data.root": 1,
        "no image named": 1,
    }


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    photo(root / "1.jpg")
    (root / "items.csv").write_text("sku,picture\n1,1.jpg\n")
    with pytest.raises(
        DataError, match=r"no column image, but sku, picture: .*data.columns.image=picture"
    ):
        prepare(folder(root, table="items.csv"), tmp_path)
    with pytest.raises(DataError, match=r"data.columns.image=pic: .* has no such column"):
        prepare(folder(root, table="items.csv", columns={"image": "pic"}), tmp_path)
    with pytest.raises(DataError, match=r"data.columns.sku: there is no such field"):
        prepare(folder(root, table="items.csv", columns={"sku": "sku"}), tmp_path)
    with pytest.raises(DataError, match=r"data.table=gone.csv"):
        prepare(folder(root, table="gone.csv"), tmp_path)


def test_one_attribute_is_a_list_of_one(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png")
    with pytest.raises(ConfigError, match=r"data.attributes=colour: it must be a list of names"):
        folder(tmp_path / "photos", attributes="colour")


def test_a_root_may_be_a_path_and_a_cache_a_string(tmp_path: Path) -> None:
    for n in range(30):
        photo(tmp_path / "photos" / f"{n}.png", seed=n)
    source = Folder(root=tmp_path / "photos", num_workers=0)  # type: ignore[arg-type]  # works too
    assert len(prepare(source, str(tmp_path / "cache"))) == 30  # type: ignore[arg-type]
