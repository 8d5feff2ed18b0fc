"""Google Merchant's feed as a table and as XML."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from fashret.data.feeds.merchant import offers, xml_rows
from fashret.data.feeds.offer import plain_rows
from fashret.data.preparation_report import Report
from fashret.errors import DataError

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>007</g:id><title>Robe d&#233;t&#233; &amp; ceinture</title>
<g:description>&lt;p&gt;Soft.&lt;/p&gt;</g:description>
<g:item_group_id>G1</g:item_group_id><g:image_link>https://x.y/a.jpg</g:image_link>
<g:additional_image_link>https://x.y/b.jpg</g:additional_image_link>
<g:additional_image_link>https://x.y/c.jpg</g:additional_image_link>
<g:color>Red/White</g:color><g:size>S</g:size><g:gender>female</g:gender>
<g:product_type>Apparel &gt; Dresses</g:product_type></item>
<item><g:id/><g:title>nothing</g:title></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><id>tag:shop,2024:1</id><g:id>1</g:id><g:title>Tee</g:title><title>tee, plain</title>
<g:image_link>a.jpg</g:image_link></entry></feed>"""


def test_an_xml_feed_is_read_as_its_table_would_be(tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_text(RSS)
    report = Report()
    (tmp_path / "feed.xml.gz").write_bytes(gzip.compress(RSS.encode()))
    (found,) = offers(xml_rows(tmp_path / "feed.xml"), report)
    (packed,) = offers(xml_rows(tmp_path / "feed.xml.gz"), Report())
    assert replace(packed, where=found.where) == found
    assert (found.item_id, found.product_id, found.where) == ("007", "G1", "feed.xml item 1")
    assert found.title == "Robe dété & ceinture"
    assert found.photos == [f"https://x.y/{name}.jpg" for name in "abc"]
    assert found.values == {"colour": "Red", "size": "S", "gender": "female"}
    assert (found.category, list(found.description)) == ("Dresses", ["Soft."])
    assert dict(report.dropped) == {"row without an id": 1}
    (tmp_path / "atom.xml").write_text(ATOM)
    (only,) = offers(xml_rows(tmp_path / "atom.xml"), report)
    assert (only.item_id, only.product_id, only.title, only.photos) == (
        "1",
        "id:1",
        "Tee",
        ["a.jpg"],
    )


def test_ids_are_whole_numbers_and_no_groups_of_others() -> None:
    rows = [
        {"id": 12.0, "Image Link": "a.jpg", "Product_Type": ["A > Caps", "B > Hats"]},
        {"id": 13.0, "Image Link": "b.jpg", "Item Group ID": 12.0, "google product category": 1604},
    ]
    one, two = offers(plain_rows([(f"row {n}", row) for n, row in enumerate(rows)]), Report())
    assert (one.item_id, one.product_id, one.category) == ("12", "id:12", "Caps")
    assert (two.item_id, two.product_id, two.category) == ("13", "12", "")


def test_a_table_with_several_photos_in_a_cell() -> None:
    row = {
        "id": "1", "image link": "a.jpg", "additional image link": "b.jpg,c.jpg",
        "google_product_category": "A > Shoes", "material": "Leather / Suede",
    }  # fmt: skip
    (found,) = offers(plain_rows([("line 2", row)]), Report())
    assert found.photos == ["a.jpg", "b.jpg", "c.jpg"]
    assert (found.category, found.values) == ("Shoes", {"material": "Leather"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<rss><channel/></rss>", "has no <item>"),
        ("<rss><channel><item>", "is not XML after item 0"),
        ("no xml", "is not XML"),
        ('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item>'
         "</rss>", "is not XML"),
    ],
)  # fmt: skip
def test_what_is_no_feed_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "feed.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        list(xml_rows(tmp_path / "feed.xml"))
