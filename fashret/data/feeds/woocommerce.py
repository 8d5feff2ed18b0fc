"""WooCommerce's product export: simple products, and variable ones with their variations."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fashret.data.feeds.markup import lines_of
from fashret.data.feeds.offer import (
    Offer,
    Rows,
    cell,
    first_value,
    narrowest,
    photos_in,
    value_name,
)
from fashret.data.preparation_report import Report

COLUMNS = ("Type", "SKU", "Images")
"""What tells the kind."""


def offers(rows: Rows, report: Report) -> Iterator[Offer]:
    """Read the offers of an export; a variation has its parent's text."""
    parents: dict[str, Mapping[str, Any]] = {}
    variations = []
    for where, row in rows:
        report.rows_in += 1
        kind = cell(row, "Type").casefold()
        if cell(row, "Published") in ("0", "-1"):
            report.drop("not sold: draft, archived or not published", where)
        elif kind.startswith("variation"):
            variations.append((where, row))
        else:
            for name in (f"id:{cell(row, 'ID')}", cell(row, "SKU")):
                if name not in ("", "id:"):
                    parents[name] = row
            yield _offer(row, row, where)
    for where, row in variations:
        parent = parents.get(cell(row, "Parent"))
        if parent is None:
            report.drop("variation without its parent", where)
        else:
            yield _offer(row, parent, where)


def _offer(row: Mapping[str, Any], parent: Mapping[str, Any], where: str) -> Offer:
    values = {}
    for number in range(1, 10):
        name = value_name(cell(row, f"Attribute {number} name"))
        text = cell(row, f"Attribute {number} value(s)")
        if name and text and (row is not parent or "," not in text):
            values[name] = first_value(text)
    return Offer(
        f"id:{cell(parent, 'ID')}" if cell(parent, "ID") else _id(parent),  # a SKU may be a number
        _id(row),
        photos_in(row.get("images")),
        " ".join(lines_of(cell(row, "Name") or cell(parent, "Name"))),
        lines_of(cell(parent, "Description", "Short description").replace("\\n", "\n")),
        narrowest(re.split(r"(?<!\\),", cell(parent, "Categories"))[0].replace("\\,", ",")),
        values,
        where,
    )


def _id(row: Mapping[str, Any]) -> str:
    return cell(row, "SKU", "ID")
