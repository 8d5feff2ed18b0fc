"""Shopify's export, row by row."""

import csv
import io
from typing import Any

from fashret.data.feeds.offer import Offer, plain_rows
from fashret.data.feeds.shopify import offers
from fashret.data.preparation_report import Report

HEADER = (
    "Handle,Title,Body (HTML),Type,Product Category,Published,Option1 Name,Option1 Value,"
    "Option2 Name,Option2 Value,Variant SKU,Image Src,Image Position,Variant Image,Status,"
    "Material (product.metafields.custom.material)\n"
)


def read(text: str) -> tuple[list[Offer], Report]:
    report = Report()
    rows: list[tuple[str, dict[str, Any]]] = [
        (f"line {n}", row) for n, row in enumerate(csv.DictReader(io.StringIO(HEADER + text)), 2)
    ]
    return list(offers(plain_rows(rows), report)), report


def test_a_product_of_two_colours_with_photos_of_each_and_of_both() -> None:
    found, report = read(
        'tee,Striped Tee,"<p>Soft</p>",T-Shirts,,TRUE,Farbe,Red,Size,S,R-S,b.jpg,2,r.jpg,active,'
        "Cotton\n"
        "tee,,,,,,,Red,,M,R-M,a.jpg,1,r.jpg,,\n"
        "tee,,,,,,,Blue,,S,B-S,r.jpg,3,c.jpg,,\n"
        "tee,,,,,,,,,,,c.jpg,4,,,\n"
    )
    assert [(o.item_id, o.photos, o.values) for o in found] == [
        ("tee", ["a.jpg", "b.jpg"], {"material": "Cotton"}),
        ("R-S", ["r.jpg"], {"material": "Cotton", "colour": "Red", "size": "S"}),
        ("B-S", ["c.jpg"], {"material": "Cotton", "colour": "Blue", "size": "S"}),
    ]
    assert {(o.product_id, o.title, o.category, tuple(o.description)) for o in found} == {
        ("tee", "Striped Tee", "T-Shirts", ("Soft",))
    }
    assert (report.rows_in, dict(report.dropped)) == (4, {})


def test_what_all_variants_share_is_true_of_every_photo() -> None:
    found, _ = read(
        "tee,Tee,,,Apparel > Tops > Tees,,Color,Red,Size,S,,a.jpg,1,,active,\n"
        "tee,,,,,,,Red,,M,,b.jpg,2,,,\n"
        "cap,Cap,,,,,Title,Default Title,,,,d.jpg,1,,,\n"
    )
    assert [(o.photos, o.values, o.category) for o in found] == [
        (["a.jpg", "b.jpg"], {"colour": "Red"}, "Tees"),
        (["d.jpg"], {}, ""),
    ]


def test_a_metafield_of_several_values_labels_no_photo() -> None:
    """It lists what the variants have; and where an option says it, the option says it better."""
    found, _ = read(
        "a,A,,,,,,,,,,a.jpg,1,,,Cotton; Wool\n"
        "b,B,,,,,Material,Wool,,,W,b.jpg,1,b.jpg,,Cotton\n"
        "b,,,,,,,Silk,,,S,c.jpg,2,,,\n"
    )
    assert [(o.photos, o.values) for o in found] == [
        (["a.jpg"], {}), (["c.jpg"], {}), (["b.jpg"], {"material": "Wool"}),
    ]  # fmt: skip


def test_the_first_row_of_a_product_may_say_least() -> None:
    found, report = read(
        "a,,,,,,,,,,,a.jpg,1,,,\n"
        "a,A <b>tee</b>,,Tees,,TRUE,,,,,,,,,active,\n"
        "b,,,,,,,,,,,b.jpg,1,,,\n"
        "b,B,,,,,,,,,,,,,draft,\n"
    )
    assert [(o.title, o.category, o.photos) for o in found] == [("A tee", "Tees", ["a.jpg"])]
    assert sum(report.dropped.values()) == 2


def test_what_is_not_sold_is_counted() -> None:
    found, report = read(
        "a,A,,,,TRUE,,,,,,a.jpg,1,,draft,\n"
        "b,B,,,,FALSE,,,,,,b.jpg,1,,,\n"
        "b,,,,,,,,,,,b2.jpg,2,,,\n"
        ",C,,,,TRUE,,,,,,c.jpg,1,,,\n"
        "d,D,,,,TRUE,,,,,,,,,active,\n"
    )
    assert [(o.item_id, o.photos) for o in found] == [("d", [])]
    assert dict(report.dropped) == {
        "not sold: draft, archived or not published": 3, "row without a Handle": 1,
    }  # fmt: skip
    assert report.rows_in == 5
