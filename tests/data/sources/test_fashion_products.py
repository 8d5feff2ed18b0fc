"""Fashion Product Images, on a small copy of their layout with their quirks in it."""

from pathlib import Path

import pytest

from fashret.data.preparation import prepare
from fashret.data.preparation_report import Report
from fashret.data.sources import FashionProducts
from fashret.errors import DataError
from support.fashion_products import HEADER, STYLES
from support.sources import COMMON, balanced, rows


def test_fashion_products_quirks(products: FashionProducts, tmp_path: Path) -> None:
    table = prepare(products, tmp_path)
    found = rows(table)
    report = balanced(table)
    assert report["rows_in"] == len(STYLES)
    assert report["dropped"] == {
        "missing photo": 1,
        "corrupt photo": 1,
        "too few fields": 1,
        "duplicate item_id": 1,
    }
    assert report["repaired"]["unquoted commas in productDisplayName"] == 1
    assert found["3"]["text"] == "Black, Blue, Printed Tee"
    assert found["4"]["text"] == 'The 9" shoe'
    assert found["3"]["colour"] == found["3"]["usage"] == "NA"  # a value, not a missing number
    assert found["2"]["season"] == found["2"]["usage"] == "unknown"
    assert found["2"]["text"] == "Red Dress"
    assert found["1"]["category"] == "Shirts"


def test_equal_title_and_photo_are_one_product(products: FashionProducts, tmp_path: Path) -> None:
    found = rows(prepare(products, tmp_path))
    assert found["7"]["product_id"] == found["8"]["product_id"] != found["9"]["product_id"]
    assert found["7"]["split"] == found["8"]["split"] == found["9"]["split"]


def test_another_header_is_named(products: FashionProducts, tmp_path: Path) -> None:
    (Path(products.root) / "styles.csv").write_text("id,name\n1,x\n")
    with pytest.raises(DataError, match=r"styles.csv has the columns id, name; expected are id"):
        prepare(products, tmp_path)


def test_a_folder_that_is_another_is_named(tmp_path: Path) -> None:
    source = FashionProducts(name="fp", attributes=[], root=str(tmp_path), **COMMON)
    with pytest.raises(DataError, match=r"has no styles.csv"):
        prepare(source, tmp_path)


def test_a_set_of_thousands_keeps_every_title_whole(tmp_path: Path) -> None:
    """2,000 rows, of which every 180th has one to three commas that nothing quotes."""
    titles = {str(10_000 + i): f"Brand Men Striped Shirt {i}" for i in range(2_000)}
    long = list(titles)[::180]
    for number, item in enumerate(long):
        titles[item] = "Pack of" + ", Red" * (1 + number % 3) + f" Tees {item}"
    fields = "Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual"
    lines = [f"{item},{fields},{title}" for item, title in titles.items()]
    (tmp_path / "styles.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    (tmp_path / "images").mkdir()
    source = FashionProducts(name="fp", attributes=["colour"], root=str(tmp_path), **COMMON)
    report = Report()
    found = {item.item_id: item.text for item in source.items(report)}
    assert found == titles
    assert report.rows_in == 2_000
    assert report.repaired == {"unquoted commas in productDisplayName": len(long)}
    assert len(long) == 12  # rows 0, 180, ..., 1980
