"""Google Merchant's and Facebook's product feeds, as a table or as XML."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fashret.data.feeds.markup import lines_of
from fashret.data.feeds.offer import Offer, Rows, cell, first_value, narrowest, photos_in
from fashret.data.preparation_report import Report
from fashret.errors import DataError

COLUMNS = ("id", "image_link")
"""What tells the kind."""

_VALUES = {"color": "colour", "colour": "colour", "material": "material", "pattern": "pattern",
           "gender": "gender", "size": "size"}  # fmt: skip


def offers(rows: Rows, report: Report) -> Iterator[Offer]:
    """Read the offers of a feed: a row is a variant, rows of one `item_group_id` are a product."""
    for where, row in rows:
        report.rows_in += 1
        item, group = cell(row, "id"), cell(row, "item_group_id")
        if not item:
            report.drop("row without an id", where)
            continue
        photos = photos_in(row.get("image_link")) + photos_in(row.get("additional_image_link"))
        values = {
            name: first_value(cell(row, column))
            for column, name in _VALUES.items()
            if cell(row, column)
        }
        category = cell(row, "product_type") or cell(row, "google_product_category")
        yield Offer(
            group or f"id:{item}",  # an item may have the number of another's group
            item,
            list(dict.fromkeys(photos)),
            " ".join(lines_of(cell(row, "title"))),
            lines_of(cell(row, "description")),
            narrowest(category),
            values,
            where,
        )


def xml_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read the items of an RSS 2.0 or Atom feed; photos that repeat give a list.

    Args:
        path: path of the file, .xml or .xml.gz.

    Raises:
        DataError: the file is not XML, or has no items.
    """
    number = 0
    try:
        for element in _elements(path):
            if _local(element.tag) not in ("item", "entry"):
                continue
            number += 1
            row: dict[str, Any] = {}
            is_google: dict[str, bool] = {}
            for child in element:
                name, text = _local(child.tag), (child.text or "").strip()
                google = "google" in child.tag
                if name in row and name.endswith("image_link"):
                    row[name] = [*([row[name]] if isinstance(row[name], str) else row[name]), text]
                elif name not in row or (google and not is_google[name]):
                    row[name], is_google[name] = text, google  # g:id is the item's, id is Atom's
            element.clear()
            yield f"{path.name} item {number}", row
    except ElementTree.ParseError as e:
        raise DataError(f"data.table={path} is not XML after item {number}: {e}") from e
    except (EOFError, OSError, zlib.error) as e:
        raise DataError(f"data.table={path} cannot be read after item {number}: {e}") from e
    if not number:
        raise DataError(f"data.table={path} has no <item> (RSS) and no <entry> (Atom)")


def _elements(path: Path) -> Iterator[ElementTree.Element]:
    """The elements of a file in the order of their ends, which may be packed."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as opened:
        for _, element in ElementTree.iterparse(opened):
            yield element


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
