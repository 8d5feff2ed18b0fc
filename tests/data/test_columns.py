"""Columns as people export them: each quirk is read as it was meant, or refused by name."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from fashret.data.preparation import prepare
from fashret.data.source import Source
from fashret.data.sources import Hub
from fashret.errors import DataError
from support.sources import COMMON, balanced, folder, photo, rows
from support.tables import Shop, lines


def test_two_columns_of_one_name_in_parquet_are_refused(shop: Shop) -> None:
    names = pa.array([f"{i}.jpg" for i in range(12)])
    table = pa.Table.from_arrays([names, names, names], ["image", "text", "text"])
    with pytest.raises(DataError, match="several columns of the name text"):
        shop(table, "items.parquet")


def test_two_columns_of_one_name_are_refused(shop: Shop) -> None:
    with pytest.raises(DataError, match="several columns of the name text"):
        shop(lines("image,text,text", "{i}.jpg,a,b"))
    with pytest.raises(
        DataError, match=r"Text and TEXT may both be text: .*data.columns.text=Text"
    ):
        shop(lines("image,Text,TEXT", "{i}.jpg,a,b"))


def test_every_unused_column_is_named_with_a_likely_field(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    report = shop(lines("image,title,price,Color", "{i}.jpg,a,9,red")).report
    told = (
        "columns that are not used: title, price; to use one, for example data.columns.text=title"
    )
    assert any(told in note for note in report["notes"])
    assert told in caplog.text
    assert any("reading column Color as colour" in note for note in report["notes"])


# Numbers: a null does not make them floats


IDS = [2**53 + 1 + i for i in range(11)]
"""The first whole numbers that a float cannot tell apart."""


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_one_null_leaves_large_ids_as_they_are(shop: Shop, form: str) -> None:
    names, ids = [f"{i}.jpg" for i in range(12)], [*IDS, None]
    table: pa.Table | str = pa.table({"image": names, "product_id": pa.array(ids, pa.int64())})
    if form == "jsonl":
        made = [{"image": n, "product_id": i} for n, i in zip(names, ids, strict=True)]
        table = "\ufeff" + "\n".join(map(json.dumps, made))
    found = rows(shop(table, f"items.{form}"))
    assert [found[name]["product_id"] for name in names] == [*map(str, IDS), None]


def test_one_null_moves_no_other_item_to_another_split(shop: Shop) -> None:
    def table(ids: list[int | None]) -> pa.Table:
        return pa.table({"image": [f"{i}.jpg" for i in range(12)], "product_id": ids})

    ids = list(range(100, 112))
    whole = rows(shop(table([*ids]), "whole.parquet"))
    one_lost = rows(shop(table([None, *ids[1:]]), "lost.parquet"))
    assert all(whole[name]["split"] == one_lost[name]["split"] for name in list(whole)[1:])


def test_numbers_are_written_as_people_write_them(shop: Shop) -> None:
    columns = {
        "image": [f"{i}.jpg" for i in range(4)],
        "size": [36.0, 38.5, None, 40.0],
        "grade": [True, False, None, True],
    }
    found = rows(shop(pa.table(columns), "items.parquet", attributes=["size", "grade"]))
    assert [found[f"{i}.jpg"]["size"] for i in range(4)] == ["36", "38.5", "unknown", "40"]
    assert [found[f"{i}.jpg"]["grade"] for i in range(2)] == ["True", "False"]


# Cells that hold no single value


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_list_in_a_cell_is_refused_by_column_and_row(shop: Shop, form: str) -> None:
    made = [{"image": f"{i}.jpg", "text": ["red tee", "cotton"]} for i in range(12)]
    table = pa.Table.from_pylist(made) if form == "parquet" else "\n".join(map(json.dumps, made))
    with pytest.raises(DataError, match=r"items.\w+ (row|line) 1: column text contains a list"):
        shop(table, f"items.{form}")


@pytest.mark.parametrize("source", ["hub", "folder"])
def test_class_labels_are_read_by_name(tmp_path: Path, source: str) -> None:
    features = datasets.Features(
        {
            "image": datasets.Value("string"),
            "category": datasets.ClassLabel(names=["tees", "coats"]),
        }
    )
    files = [str(photo(tmp_path / "shop" / f"{i}.png", seed=i)) for i in range(12)]
    labels = [*(i % 2 for i in range(11)), None if source == "hub" else -1]
    made = datasets.Dataset.from_dict({"image": files, "category": labels}, features=features)
    if source == "hub":
        made.save_to_disk(str(tmp_path / "saved"))
        held: Source = Hub(name=str(tmp_path / "saved"), attributes=[], **COMMON)
    else:
        made.to_parquet(tmp_path / "shop" / "items.parquet")
        held = folder(tmp_path / "shop", table="items.parquet")
    found = list(rows(prepare(held, tmp_path)).values())
    assert sorted(row["category"] for row in found) == ["coats"] * 5 + ["tees"] * 6 + ["unknown"]


@pytest.mark.parametrize("source", ["hub", "parquet", "csv"])
def test_one_column_may_hold_two_fields(tmp_path: Path, source: str) -> None:
    files = [str(photo(tmp_path / "shop" / f"{i}.png", seed=i)) for i in range(12)]
    made = datasets.Dataset.from_dict({"image": files, "sku": [f"s{i}" for i in range(12)]})
    columns = {"item_id": "sku", "product_id": "sku"}
    if source == "hub":
        made.save_to_disk(str(tmp_path / "saved"))
        options = COMMON | {"columns": columns}
        held: Source = Hub(name=str(tmp_path / "saved"), attributes=[], **options)
    else:
        write = made.to_parquet if source == "parquet" else made.to_csv
        write(tmp_path / "shop" / f"items.{source}")
        held = folder(tmp_path / "shop", table=f"items.{source}", columns=columns)
    found = rows(prepare(held, tmp_path))
    assert {item: row["product_id"] for item, row in found.items()} == {
        f"s{i}": f"s{i}" for i in range(12)
    }


def test_a_list_in_a_hub_set_is_refused_by_column_and_row(tmp_path: Path) -> None:
    files = [str(photo(tmp_path / "raw" / f"{i}.png", seed=i)) for i in range(6)]
    made = datasets.Dataset.from_dict({"image": files, "colour": [["red", "blue"]] * 6})
    made.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="data row 0: column colour contains a list"):
        prepare(Hub(name=str(tmp_path / "saved"), attributes=["colour"], **COMMON), tmp_path)


# Values that say that nothing is known


SPELLINGS = ["unknown", "Unknown", "UNKNOWN", "N/A", "n/a", "None", "null", "nan", "NaN", "-", "?"]


def test_spellings_of_unknown_are_unknown_and_counted(shop: Shop) -> None:
    written = "\n".join(f"{i}.jpg,{v},{v},{v},{v}" for i, v in enumerate(SPELLINGS))
    table = shop(f"image,text,category,product_id,neckline\n{written}\n11.jpg,a,tees,p1,round\n")
    found = rows(table)
    for i, value in enumerate(SPELLINGS):
        row = found[f"{i}.jpg"]
        assert (row["category"], row["neckline"], row["product_id"]) == ("unknown", "unknown", None)
        assert row["text"] == value  # a title stays what it is
    assert found["11.jpg"]["product_id"] == "p1"
    # "unknown" itself is no change of a category or an attribute, but of a product id it is one.
    assert balanced(table)["repaired"] == {
        "category: unknown value": 10,
        "neckline: unknown value": 10,
        "product_id: unknown value": 11,
    }


def test_a_set_may_say_which_values_are_unknown(shop: Shop) -> None:
    text = lines("image,category,neckline", "{i}.jpg,NA,none")
    assert rows(shop(text))["0.jpg"]["category"] == "unknown"
    found = rows(shop(text, unknown_values=["none"]))["0.jpg"]
    assert (found["category"], found["neckline"]) == ("NA", "unknown")
