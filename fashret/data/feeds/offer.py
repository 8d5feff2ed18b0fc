"""What a feed says of one variant of a product, and how cells of feeds are read."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fashret.data.preparation_report import Report
from fashret.data.tables import as_text

Rows = Iterable[tuple[str, Mapping[str, Any]]]
"""The position of each row in its file, and its values by column (`plain_rows`)."""


@dataclass
class Offer:
    """One variant of a product, or a photo of a product of which the variant is not said.

    Attributes:
        product_id: the id that the variants of one product share.
        item_id: the id of the variant.
        photos: paths or URLs of its photos, the main one first.
        title: the title, without markup.
        description: the lines of the description, without markup.
        category: the category, the narrowest where a path of categories is given.
        values: other values by the name of the column: colour, material, size.
        where: file and line, for messages.
        split: the split that the feed states; None if it states none.
        role: query or gallery, if it states one.
    """

    product_id: str
    item_id: str
    photos: list[str]
    title: str = ""
    description: Sequence[str] = ()
    category: str = ""
    values: dict[str, str] = field(default_factory=dict)
    where: str = ""
    split: str | None = None
    role: str | None = None


Reader = Callable[[Rows, Report], Iterator[Offer]]
"""Reads the offers of one kind of feed, and counts the rows that are left out."""

NAMES = {
    "colour": ("color", "colour", "farbe", "couleur", "colore", "color name", "farbname"),
    "size": ("size", "grösse", "größe", "groesse", "taille", "taglia", "talla"),
    "material": ("material", "fabric", "stoff", "matière", "materiale", "fabric type"),
    "pattern": ("pattern", "muster", "motif", "print"),
    "gender": ("gender", "target gender", "geschlecht", "genre", "age group gender"),
}
"""Names of options and columns that state a value, in lower case."""


def plain(column: object) -> str:
    """Return a column's name as it is compared: `g:Image Link` is image_link."""
    return str(column).strip().casefold().removeprefix("g:").replace(" ", "_")


def plain_rows(rows: Rows) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name the values of each row by plain columns."""
    for where, row in rows:
        yield where, {plain(column): value for column, value in row.items()}


def value_name(column: str) -> str:
    """Return the name of the value that an option or a column states, such as colour for Farbe.

    Example:
        >>> value_name("Color (product.metafields.shopify.color-pattern)")
        'colour'
    """
    name = re.sub(r"\(.*?\)", "", column).replace("_", " ").strip().casefold()
    return next((known for known, names in NAMES.items() if name in names), name)


def first_value(cell: str) -> str:
    """Return the first of several values: `red/white` and `red; white` are red.

    Example:
        >>> first_value("Navy / White")
        'Navy'
    """
    return re.split(r"\s*[/;|]\s*", cell.strip())[0].strip()


def narrowest(path: str) -> str:
    """Return the last part of a path of categories; "" for a number of a taxonomy.

    Example:
        >>> narrowest("Handbags, Wallets & Cases > Wallets & Money Clips")
        'Wallets & Money Clips'
    """
    last = path.split(">")[-1].strip()
    return "" if last.isdecimal() else last


def photos_in(cell: object) -> list[str]:
    """Return the paths or URLs in a cell: one, several, a JSON list, or a list.

    Example:
        >>> photos_in("https://cdn.shop/a.jpg?w=1,2, //cdn.shop/b.jpg")
        ['https://cdn.shop/a.jpg?w=1,2', 'https://cdn.shop/b.jpg']
        >>> photos_in('["a.jpg", "b.jpg"]')
        ['a.jpg', 'b.jpg']
    """
    if isinstance(cell, list | tuple):
        parts = [str(part) for part in cell if part]
    else:
        text = str(cell or "").strip()
        parts = _listed(text) or _parted(text)
    found = [f"https:{part}" if part.startswith("//") else part for part in map(str.strip, parts)]
    return [part for part in dict.fromkeys(found) if part]


def _listed(text: str) -> list[str]:
    """The strings of a JSON list; empty for other texts."""
    if not text.startswith("["):
        return []
    try:
        parts = json.loads(text)
    except ValueError:
        return []
    return [part for part in parts if isinstance(part, str)]


def _parted(text: str) -> list[str]:
    """The parts of a cell; a comma within a URL does not part it."""
    text = re.sub(r"[^\S\n]+", " ", text)
    if re.match(r"(https?:)?//", text, re.IGNORECASE):
        return re.split(r"[,;|\s] ?(?=(?:https?:)?//)|[\n|]", text, flags=re.IGNORECASE)
    return re.split(r"[;|\n]|(?<=\.\w{3}),|(?<=\.\w{4}),", text)


def cell(row: Mapping[str, Any], *columns: str) -> str:
    """Return the first cell of a row that is not empty, as text; "" if all are.

    Args:
        row: the values by plain column.
        columns: the columns, the preferred one first.
    """
    for column in columns:
        value = row.get(plain(column))
        if isinstance(value, list | tuple):
            value = next(iter(value), None)
        if text := as_text(value, column, "a row of the feed"):
            return text
    return ""
