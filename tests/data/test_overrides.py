"""Values corrected by hand, and the page that they are found with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashret.data.attribute_parser import Schema
from fashret.data.augment import Augment
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import Folder
from fashret.errors import DataError
from support.commands import Run

SCHEMA = Schema(
    garments={"upper": ["shirt", "shirts", "tee"]},
    attributes={"colour": {"values": {"red": ["red"], "blue": ["blue"]}}},
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["item_id,image,text,category,colour,product_id"]
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (16, 12, 3), dtype=np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        colour = "blue" if number == 0 else "red" if number < 6 else ""
        lines.append(f"i{number},{number}.png,A red shirt,shirts,{colour},p{number}")
    (tmp_path / "items.csv").write_text("\n".join(lines))
    return tmp_path


def source(shop: Path, overrides: str | None) -> Folder:
    options: dict[str, Any] = {
        "splits": {"train": 0.6, "validation": 0.4, "test": 0.0}, "seed": 0, "split_seed": 0,
        "batch_size": 4, "num_workers": 0, "augment": Augment(flip=0.0, crop=0.0),
    }  # fmt: skip
    return Folder(
        name="shop", root=str(shop), table="items.csv", attributes=["colour"], schema=SCHEMA,
        overrides=overrides, **options,
    )  # fmt: skip


def corrected(shop: Path, *lines: str) -> ItemTable:
    path = shop / "overrides.csv"
    path.write_text("\n".join(lines))
    return prepare(source(shop, str(path)), shop / "cache")


def test_what_is_corrected_by_hand_stands(shop: Path) -> None:
    plain = prepare(source(shop, None), shop / "cache")
    assert plain.report["disagreements"] == {"colour": {"blue, text: red": 1}}
    table = corrected(
        shop,
        "item_id,drop,text,category,product_id,colour",
        "i0,,,,,blue",  # the set was right: it is no disagreement any more
        "i1,,,tee,,",
        "i2,,A blue shirt,,p1,",  # what the set states stands against a text, old or new
        "i6,,A blue shirt,,,",  # the set states nothing: the new text is read
        "i7,,,,,unknown",  # and its text's red is not taken
        "i8,yes,,,,",
        "i9,,,,,",  # nothing is filled in
    )
    ids = table.column("item_id")
    assert set(ids) == {f"i{n}" for n in range(12)} - {"i8"}

    def of(item: str, name: str) -> str:
        return str(table.column(name)[ids.index(item)])

    assert [of(f"i{n}", "colour") for n in (0, 2, 6, 7, 9)] == "blue red blue unknown red".split()
    assert of("i1", "category") == "tee"
    assert of("i2", "product_id") == of("i1", "product_id") == "p1"
    report = table.report
    assert report["disagreements"] == {"colour": {"red, text: blue": 1}}
    assert report["dropped"] == {"left out by hand": 1}
    assert report["repaired"]["corrected by hand"] == 5
    assert report["rows_in"] == report["rows_kept"] + 1


def test_corrections_make_another_table(shop: Path) -> None:
    plain = prepare(source(shop, None), shop / "cache")
    empty = corrected(shop, "item_id,colour", "i0,")
    red = corrected(shop, "item_id,colour", "i0,red")
    assert plain.key == empty.key != red.key


def test_an_item_that_is_not_there_is_named(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = corrected(shop, "item_id,colour", "i0,red", "i99,red")
    assert "1 of its items are not in the data: i99" in caplog.text
    assert any("i99" in note for note in table.report["notes"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["item_id,color", "i0,red"], "color; the columns are item_id, drop"),
        (["id,colour", "i0,red"], "id; the columns are item_id"),
        (["colour", "red"], "without a column item_id"),
        (["item_id,colour", "i0,red", "i0,blue"], "line 3: i0 occurs twice"),
        (["item_id,colour", ",red"], "line 2: no item_id"),
        (["item_id,drop", "i0,no"], "line 2: drop is no: yes, or empty"),
    ],
)
def test_a_bad_file_is_answered(shop: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        corrected(shop, *lines)


def test_a_missing_file_is_answered(shop: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: file not found"):
        prepare(source(shop, "nowhere.csv"), shop / "cache")


def test_the_page_has_a_file_to_fill_in(shop: Path, run: Run) -> None:
    (shop / "before.csv").write_text("item_id,colour\ni3,blue\n")
    folder = run(
        "view",
        "data=folder",
        f"data.root={shop}",
        "data.table=items.csv",
        "data.attributes=[colour]",
        f"data.overrides={shop / 'before.csv'}",
        "view.alike=null",
        small=False,
    )
    frame = pd.read_csv(folder / "overrides.csv", dtype=str, keep_default_na=False)
    assert frame.set_index("item_id")["colour"].to_dict() == {"i0": "", "i3": "blue"}
    page = (folder / "index.html").read_text()
    data, _ = json.JSONDecoder().raw_decode(page.split("const DATA = ", 1)[1])
    (disagreement,) = data["disagreements"]
    assert disagreement["said"] == "stated blue, the text says red"
    assert [data["items"][place]["id"] for place in disagreement["items"]] == ["i0"]
    assert data["corrections"] == {"i3": {"colour": "blue"}}
    assert [entry["value"] for entry in data["values"]["colour"]] == ["red", "blue"]
