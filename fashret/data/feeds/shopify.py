"""Shopify's product export: rows of variants and of images under one Handle."""

from collections import defaultdict
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

COLUMNS = ("Handle", "Image Src")
"""What tells the kind."""


def offers(rows: Rows, report: Report) -> Iterator[Offer]:
    """Read the offers of an export.

    The first row of a product carries its title, text and type; others carry only a variant, only
    an image, or both. A variant's own image shows its options; the others show the product.
    """
    products: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for where, row in rows:
        handle = cell(row, "Handle")
        report.rows_in += 1
        if handle:
            products[handle].append((where, row))
        else:
            report.drop("row without a Handle", where)
    for handle, lines in products.items():
        if _is_not_sold(_said(lines)):
            for where, _ in lines:
                report.drop("not sold: draft, archived or not published", where)
            continue
        yield from _product(handle, lines)


_Lines = list[tuple[str, Mapping[str, Any]]]


def _said(lines: _Lines) -> dict[str, Any]:
    """What the rows of a product say of it: of each column the first value."""
    said: dict[str, Any] = {}
    for _, row in lines:
        for column, value in row.items():
            if str(value or "").strip():
                said.setdefault(column, value)
    return said


def _product(handle: str, lines: _Lines) -> Iterator[Offer]:
    where, first = lines[0][0], _said(lines)
    shared: dict[str, Any] = {
        "title": " ".join(lines_of(cell(first, "Title"))),
        "description": lines_of(cell(first, "Body (HTML)", "Body HTML")),
        "category": cell(first, "Type", "Custom Product Type")
        or narrowest(cell(first, "Product Category")),
    }
    names = [value_name(cell(first, f"Option{n} Name")) for n in (1, 2, 3)]
    stated = {
        name: str(value).strip()
        for column, value in first.items()
        if "metafields" in column
        and (name := value_name(column)) not in names
        # Several values are those of all variants: nobody says which photo shows which.
        and first_value(str(value)) == str(value).strip()
    }
    own: dict[str, Offer] = {}  # by the variant's photo
    values: list[dict[str, str]] = []
    for position, row in lines:
        options = {
            name: option
            for n, name in enumerate(names, 1)
            if name and (option := cell(row, f"Option{n} Value")) not in ("", "Default Title")
        }
        if options:
            values.append(options)
        if photo := next(iter(photos_in(row.get("variant_image"))), ""):
            item = cell(row, "Variant SKU") or f"{handle}/{len(own)}"
            known = {**stated, **options}
            own.setdefault(
                photo, Offer(handle, item, [photo], **shared, values=known, where=position)
            )
    ordered = sorted(lines, key=lambda line: _position(line[1]))
    photos = [photo for _, row in ordered for photo in photos_in(row.get("image_src"))]
    others = [photo for photo in dict.fromkeys(photos) if photo not in own]
    common = dict(values[0].items() if values else ())
    for options in values[1:]:  # what all variants share is true of every photo
        common = {name: value for name, value in common.items() if options.get(name) == value}
    if others or not own:
        yield Offer(handle, handle, others, **shared, values={**stated, **common}, where=where)
    yield from own.values()


def _is_not_sold(row: Mapping[str, Any]) -> bool:
    status, published = cell(row, "Status").casefold(), cell(row, "Published").casefold()
    return status in ("draft", "archived") or published in ("false", "0", "no")


def _position(row: Mapping[str, Any]) -> float:
    text = cell(row, "Image Position")
    return float(text) if text.replace(".", "", 1).isdigit() else float("inf")
