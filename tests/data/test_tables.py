"""Tables as people export them: each quirk is read as it was meant, or refused by line."""

import gzip
import io
import json
import re
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pyarrow as pa
import pytest

from fashret.data.product_grouping import Grouping
from fashret.errors import DataError
from support.sources import balanced, photo, rows
from support.tables import Shop, lines

PLAIN = lines("image,text,category", "{i}.jpg,tee {i},tees")


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(lines("image,text,category", "{i}.jpg,tee {i},tees,"), id="trailing comma"),
        pytest.param(PLAIN.replace("tee 0,tees", "tee 0,tees,"), id="one trailing comma"),
        pytest.param(lines("image,text,category,", "{i}.jpg,tee {i},tees,"), id="in header too"),
        pytest.param(PLAIN.replace(",", ";"), id="semicolons"),
        pytest.param(PLAIN.replace(",", "\t"), id="tabs"),
        pytest.param(PLAIN.replace(",", "|"), id="bars"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(PLAIN.replace("\n", "\n\n"), id="blank lines"),
        pytest.param(PLAIN.replace("\n", "\r"), id="old Mac line ends"),
        pytest.param("sep=;\n" + PLAIN.replace(",", ";"), id="Excel's own first line"),
        pytest.param("\n\n" + PLAIN, id="blank first lines"),
        pytest.param(
            lines("image,text,category,Sizes (S|M|L|XL)", "{i}.jpg,tee {i},tees,S"),
            id="bars in a name",
        ),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="byte order mark"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param(lines("image, text, category", "{i}.jpg, tee {i}, tees"), id="spaces"),
        pytest.param(lines("Image,TEXT, Category", "{i}.jpg,tee {i},tees"), id="capitals"),
        pytest.param(lines("image,text,category", '{i}.jpg,"tee {i}","tees"'), id="quotes"),
    ],
)
def test_a_table_is_read_as_it_was_meant(shop: Shop, table: str | bytes) -> None:
    found = rows(shop(table))
    assert {k: (v["text"], v["category"]) for k, v in found.items()} == {
        f"{i}.jpg": (f"tee {i}", "tees") for i in range(12)
    }


def test_a_trailing_comma_shifts_no_column(shop: Shop) -> None:
    """A reader that takes the surplus field for an index gives every column its right neighbour."""
    text = lines("image,image_large,text,category", "{i}.jpg,large/{i}.jpg,tee {i},tees,")
    report = balanced(table := shop(text))
    assert rows(table)["3.jpg"]["text"] == "tee 3"
    assert report["repaired"]["empty fields behind the last column"] == 12


def test_a_row_of_more_fields_than_columns_is_dropped_by_line(shop: Shop) -> None:
    report = balanced(shop(PLAIN.replace("tee 2,", "tee 2, red,")))
    assert report["dropped"] == {"more fields than columns": 1}
    assert report["examples"]["more fields than columns"] == ["items.csv line 4: 4 of 3"]


def test_a_row_of_fewer_fields_has_empty_last_ones(shop: Shop) -> None:
    table = shop(PLAIN.replace("tee 2,tees", "tee 2"))
    assert rows(table)["2.jpg"]["category"] == "unknown"
    assert balanced(table)["repaired"] == {"fewer fields than columns: the last ones are empty": 1}


@pytest.mark.parametrize("name", ["items.csv", "items.tsv"])
def test_a_file_that_does_not_quote_keeps_its_quotation_marks(shop: Shop, name: str) -> None:
    mark = "," if name.endswith("csv") else "\t"
    text = lines("image,text,category", "{i}.jpg,tee {i},tees").replace(",", mark)
    text = text.replace("tee 3", '"Mom jeans').replace("tee 7", '"Boyfriend" jeans')
    found = rows(table := shop(text, name))
    assert balanced(table)["rows_in"] == 12
    assert (found["3.jpg"]["text"], found["7.jpg"]["text"]) == ('"Mom jeans', '"Boyfriend" jeans')


def test_an_open_quotation_mark_that_swallows_rows_is_named_by_line(shop: Shop) -> None:
    """Rows 3 to 8 are one field for a CSV parser: its count of rows would still hold."""
    text = PLAIN.replace("tee 0", '"a tee, red"').replace("tee 3", '"tee 3').replace("8,", '8",')
    with pytest.raises(DataError, match=r"items.csv line 5: a quotation mark opens .* to line 10"):
        shop(text)


def test_one_wrong_mark_in_a_file_that_quotes_is_named_by_line(shop: Shop) -> None:
    """Read without quoting, the marks would be part of every other value."""
    text = lines("image,text,category", '{i}.jpg,"tee {i}","tees"')
    text = text.replace('"tee 3"', '"a 12" tee"')
    with pytest.raises(DataError, match=r"items.csv line 5: a quotation mark opens"):
        shop(text)


def test_a_quoted_text_may_name_a_photo(shop: Shop) -> None:
    text = PLAIN.replace("tee 3", '"soft\nSee size, fit, chart.jpg\nand more"')
    assert rows(shop(text))["3.jpg"]["text"] == "soft See size, fit, chart.jpg and more"


def test_rows_whose_photos_have_no_ending_are_not_swallowed(shop: Shop, tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / "shop" / f"{i}.jpg").rename(tmp_path / "shop" / f"{i}")
    text = lines("image,text,category", '{i},"a, b {i}",tees').replace('"a, b 3"', '"a, b 3')
    with pytest.raises(DataError, match=r"items.csv line 5"):
        shop(text.replace('"a, b 8"', 'b 8"'))


def test_a_long_text_is_read(shop: Shop) -> None:
    found = rows(shop(PLAIN.replace("tee 3", '"' + "x" * 200_000 + '"')))
    assert len(found["3.jpg"]["text"]) == 200_000


def test_a_row_that_names_no_file_is_dropped_by_line(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "shop" / "img").mkdir()
    text = PLAIN.replace("1.jpg", "img").replace("2.jpg", "\\" + "a" * 300)
    report = balanced(shop(text.replace("3.jpg", "a\0b")))
    assert sum(report["dropped"].values()) == report["rows_in"] - report["rows_kept"] == 4  # and 11
    assert "items.csv line 3" in str(report["examples"])


def test_half_a_character_costs_no_table(shop: Shop) -> None:
    made = [json.dumps({"image": f"{i}.jpg", "text": "tee \ud83d"}) for i in range(12)]
    assert rows(shop("\n".join(made), "items.jsonl"))["3.jpg"]["text"] == "tee ?"


def test_empty_files_are_named(shop: Shop) -> None:
    for name in ("items.csv", "items.jsonl"):
        with pytest.raises(DataError, match=rf"{name} is empty"):
            shop("\n", name)


def test_a_column_that_nobody_uses_is_not_read(shop: Shop) -> None:
    names = [f"{i}.jpg" for i in range(12)]
    beyond = pa.array([2**62] * 12, pa.timestamp("us"))  # no date that Python knows
    assert len(shop(pa.table({"image": names, "made": beyond}), "items.parquet")) == 12
    with pytest.raises(DataError, match=r"used.parquet cannot be read after row 0"):
        shop(pa.table({"image": names, "text": beyond}), "used.parquet")


def test_decimals_and_single_floats_are_short(shop: Shop) -> None:
    table = pa.table(
        {
            "image": [f"{i}.jpg" for i in range(12)],
            "size": pa.array([Decimal("36.00"), Decimal("36.50")] * 6),
            "width": pa.array([36.6, 37.0] * 6, pa.float32()),
        }
    )
    found = rows(shop(table, "items.parquet", attributes=["size", "width"]))
    assert [found[f"{i}.jpg"]["size"] for i in range(2)] == ["36", "36.50"]
    assert [found[f"{i}.jpg"]["width"] for i in range(2)] == ["36.6", "37"]


def test_the_paths_of_photos_in_cells_tell_products(shop: Shop, tmp_path: Path) -> None:
    encoded = [(tmp_path / "shop" / f"{i}.jpg").read_bytes() for i in range(12)]
    views = [f"{4700 + i // 2}-{('front', 'back')[i % 2]}.jpg" for i in range(12)]
    cells = [{"bytes": b, "path": path} for b, path in zip(encoded, views, strict=True)]
    groups = Grouping(
        min_confidence=0.6,
        names={"view": {"pattern": r"(?P<product>\d+)-\w+", "confidence": 0.9}},
        largest=12,
        title_similarity=0.98,
        title_confidence=0.65,
    )
    found = rows(shop(pa.table({"image": cells}), "items.parquet", groups=groups))
    assert len({row["product_id"] for row in found.values()}) == 6


def test_ids_that_were_made_up_tell_no_product(shop: Shop, tmp_path: Path) -> None:
    """`items.parquet row 1` to `row 12` are no photos of a product `items.parquet row`."""
    encoded = [(tmp_path / "shop" / f"{i}.jpg").read_bytes() for i in range(12)]
    groups = Grouping(
        min_confidence=0.4,
        names={"name": {"pattern": r"(?P<product>.*[^/\d])[-_. ]+\d{1,2}", "confidence": 0.5}},
        largest=12,
        title_similarity=0.98,
        title_confidence=0.65,
    )
    table = shop(pa.table({"image": encoded}), "items.parquet", groups=groups)
    assert {row["product_id"] for row in rows(table).values()} == {None}
    assert len(table.splits) == 3


def test_line_ends_in_a_quoted_text_are_no_rows(shop: Shop) -> None:
    text = PLAIN.replace("tee 3", '"tee, with\nsoft, warm, long\nsleeves"')
    assert rows(shop(text))["3.jpg"]["text"] == "tee, with soft, warm, long sleeves"


def test_a_file_from_windows_is_read_as_such(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    text = PLAIN.replace("tee 1", "café \u201csoft\u201d €").encode("cp1252")
    found = rows(shop(text))
    assert found["1.jpg"]["text"] == "café \u201csoft\u201d €"
    assert "is not UTF-8 (line 3) and read as Windows-1252" in caplog.text
    assert rows(shop(text, encoding="cp1252"))["1.jpg"]["text"] == found["1.jpg"]["text"]
    assert rows(shop(text, encoding="mac_roman"))["1.jpg"]["text"] != found["1.jpg"]["text"]
    with pytest.raises(DataError, match=r"not ASCII \(line 3\): .*data.encoding=cp1252"):
        shop(text, encoding="ascii")
    with pytest.raises(DataError, match=r"not UTF-8 \(line 3\)"):
        shop(text + b"\0")  # no text at all
    with pytest.raises(DataError, match=r"data.encoding=klingon: there is no such encoding"):
        shop(text, encoding="klingon")


@pytest.mark.parametrize("name", ["items.csv.gz", "items.CSV.GZ", "items.zip"])
def test_a_packed_table_is_read(shop: Shop, name: str) -> None:
    packed = io.BytesIO()
    if name.endswith("zip"):
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("export/items.csv", PLAIN)
            file.writestr("__MACOSX/items.csv", "x")
            file.writestr("readme.txt", "x")
    else:
        packed.write(gzip.compress(PLAIN.encode()))
    assert len(shop(packed.getvalue(), name)) == len(shop(PLAIN))


def test_what_is_packed_otherwise_is_refused(shop: Shop) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.csv", PLAIN)
        file.writestr("b.csv", PLAIN)
    with pytest.raises(DataError, match=r"holds 2 tables \(a.csv, b.csv\): unpack it"):
        shop(packed.getvalue(), "items.zip")
    for name in ("items.zip", "items.csv.gz"):
        with pytest.raises(DataError, match=r"cannot be read"):
            shop(PLAIN, name)
    with pytest.raises(DataError, match=r"cannot be read"):
        shop(gzip.compress(PLAIN.encode())[:60], "items.csv.gz")


def test_endings_are_read_in_any_case_and_others_are_refused(shop: Shop) -> None:
    assert len(shop(PLAIN, "ITEMS.CSV")) == 12
    with pytest.raises(DataError, match=r"none of the endings .csv, .tsv, .jsonl"):
        shop(PLAIN, "items.txt")
    with pytest.raises(DataError, match=r"nor .gz or .zip of a text file; save it as .xlsx"):
        shop(PLAIN, "items.xls")


def test_a_line_that_is_no_object_is_refused_by_number(shop: Shop) -> None:
    with pytest.raises(DataError, match=r"items.jsonl line 2 is not JSON"):
        shop('{"image": "0.jpg"}\n{"image": \n', "items.jsonl")
    with pytest.raises(DataError, match=r"items.jsonl line 1 holds a list"):
        shop('["0.jpg"]\n', "items.jsonl")


def test_photos_in_the_cells_of_a_table_are_read(shop: Shop, tmp_path: Path) -> None:
    encoded = [(tmp_path / "shop" / f"{i}.jpg").read_bytes() for i in range(12)]
    table = shop(pa.table({"image": encoded, "item_id": list(range(12))}), "bytes.parquet")
    assert table.photo(0) in encoded
    assert len(table) == 12


def test_paths_that_windows_wrote_are_found(shop: Shop, tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / "img" / f"{i}.jpg", seed=i)
    assert len(shop(lines("image", "img\\{i}.jpg"))) == 12


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_however_they_are_written(
    shop: Shop, tmp_path: Path, written: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"]
) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / unicodedata.normalize(on_disk, f"café {i}.jpg"), seed=i)
    assert len(shop(unicodedata.normalize(written, lines("image", "café {i}.jpg")))) == 12


def test_photos_behind_a_link_are_found_and_those_outside_are_not(
    shop: Shop, tmp_path: Path
) -> None:
    for i in range(12):
        photo(tmp_path / "disk" / f"{i}.jpg", seed=i)
    (tmp_path / "shop" / "img").symlink_to(tmp_path / "disk")
    assert len(shop(lines("image", "img/{i}.jpg"))) == 12
    with pytest.raises(DataError, match=r"image outside data.root"):
        shop(lines("image", "../disk/{i}.jpg"))


def workbook(**sheets: list[list[Any]]) -> bytes:
    """An Excel file of some sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines_of_it in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines_of_it:
            sheet.append(line)
    for sheet in book:
        for cell in sheet["D"]:
            cell.number_format = "00000"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_an_excel_file_is_read_as_it_is_shown(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    body = [
        [f"{i}.jpg", f"tee {i}", ["tees", "#N/A"][i == 3], i // 2, 2.0 * i, date(2026, 1, 1 + i)]
        for i in range(12)
    ]
    header = ["image", "Text", "category", "product_id", "size", "added"]
    encoded = workbook(
        Notes=[["How to fill in this file"]],
        Items=[[], header, *body, [], [None] * 6],
        Prices=[["sku", "price"], ["1", 2]],
    )
    table = shop(encoded, "Items.XLSX", attributes=["size", "added"])
    found = rows(table)
    assert len(found) == 12
    assert found["4.jpg"]["text"] == "tee 4"
    assert found["4.jpg"]["product_id"] == "00002"
    assert (found["4.jpg"]["size"], found["4.jpg"]["added"]) == ("8", "2026-01-05")
    assert found["3.jpg"]["category"] == "unknown"
    assert table.report["repaired"]["cell with an error: empty"] == 1
    assert "the sheet Items is read, Prices not" in caplog.text
    assert "Notes" not in caplog.text


def changed(book: bytes, change: Callable[[str], str]) -> bytes:
    """A workbook with another text of its first sheet."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = change(content.decode()).encode()
            new.writestr(name, content)
    return made.getvalue()


def test_a_wrong_range_of_an_excel_sheet_loses_nothing(shop: Shop) -> None:
    body = [[f"{i}.jpg", f"tee {i}", "tees" if i else None, i] for i in range(12)]
    book = workbook(Items=[["image", "text", "category", "product_id"], *body])
    wrong = changed(
        book, lambda text: re.sub(r'<dimension ref="[^"]*"', '<dimension ref="A1:B2"', text)
    )
    assert wrong != book
    found = rows(shop(wrong, "items.xlsx"))
    assert {name: row["text"] for name, row in found.items()} == {
        f"{i}.jpg": f"tee {i}" for i in range(12)
    }
    assert found["5.jpg"]["category"] == "tees"


def test_what_is_no_workbook_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"items.xlsx cannot be read as an Excel workbook"):
        shop(PLAIN, "items.xlsx")
    with pytest.raises(DataError, match=r"has no sheet with names of columns and a row"):
        shop(workbook(Empty=[["image", "text"]]), "items.xlsx")
    whole = workbook(
        Items=[["image", "text", "category", "id"], *[[f"{i}.jpg"] for i in range(50)]]
    )
    with pytest.raises(DataError, match=r"items.xlsx cannot be read as an Excel workbook"):
        shop(changed(whole, lambda text: text[: len(text) // 2]), "items.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"Excel files need another package \(openpyxl\)"):
        shop(b"not looked at", "items.xlsx")
