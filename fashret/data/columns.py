"""Mapping of a table's columns to the fields of items: a user's CSV, or a data set of the hub."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashret.data.preparation_report import Report
from fashret.data.splits import (
    ROLES,
    SPLIT_NAMES,
    looks_like_split,
    role_named,
    split_named,
)
from fashret.data.tables import as_text
from fashret.data.unknown_values import UNKNOWN_VALUES
from fashret.errors import DataError
from fashret.names import listed

STANDARD = ("item_id", "image", "text", "category", "product_id", "split", "role")
"""The fields that are read from columns of these names, unless `data.columns` maps them."""

LEFT_OUT = ""
"""The split of a row that `data.split_names` leaves out."""

_OFTEN_NAMED = {
    "item_id": ("id", "sku", "article_id", "image_id"),
    "image": ("photo", "picture", "path", "file", "filename", "image_path", "image_name"),
    "text": ("title", "caption", "name", "description", "product_name", "product_title"),
    "category": ("type", "product_type", "article_type", "class", "label", "product_category"),
    "product_id": ("product", "item_group_id", "style", "style_id", "parent_id", "group_id"),
    "split": ("subset", "partition", "set", "fold", "phase", "evaluation_status"),
}
"""Other common names of these columns, which messages suggest but which are not used."""


@dataclass(frozen=True)
class ColumnMap:
    """The column of a table that each field of an item is read from.

    Attributes:
        fields: name of the column by field.
        unused: names of the columns that are not read.
        missing: names of the fields without a column.
        table: name of the table, for messages.
    """

    fields: Mapping[str, str]
    unused: Sequence[str]
    missing: Sequence[str]
    table: str

    @classmethod
    def match(
        cls,
        present: Sequence[str],
        given: Mapping[str, str | None],
        attributes: Sequence[str],
        *,
        where: str,
    ) -> "ColumnMap":
        """Match fields to columns.

        A field is matched to the column of its name, else to one that differs in case, spaces,
        hyphens or the spelling of colour (` Category`, `Product-ID`, `color`).

        Args:
            present: names of the table's columns.
            given: column by field, from `data.columns`; null matches the field by its own name.
            attributes: names of the attributes.
            where: name of the table, for messages.

        Raises:
            DataError: `data.columns` names a field or a column that does not exist, the table has
                no column `image`, or two columns are equally near to a field.
        """
        known = (*STANDARD, *attributes)
        for name, column in given.items():
            if name not in known:
                raise DataError(
                    f"data.columns.{name}: there is no such field; there are {listed(name, known)}"
                )
            if column is not None and column not in present:
                raise DataError(
                    f"data.columns.{name}={column}: {where} has no such column; it has "
                    f"{listed(column, present)}"
                )
        fields = {name: column for name, column in given.items() if column}
        for name in known:
            if name not in fields and (column := _column_of(name, present, where)) is not None:
                fields[name] = column
        if "image" not in fields:
            raise DataError(
                f"{where} has no column image, but {', '.join(present)}: name the one with the "
                f"photos, data.columns.image={_suggested('image', present) or '<column>'}"
            )
        used = set(fields.values())
        unused = [name for name in present if name not in used]
        return cls(fields, unused, [name for name in known if name not in fields], where)

    def text(self, row: Mapping[str, Any], name: str, where: str) -> str:
        """Read a field of a row as text, "" where it is missing.

        Raises:
            DataError: the cell holds a list or a mapping.
        """
        column = self.fields.get(name)
        return "" if column is None else as_text(row.get(column), column, where)

    def split(
        self, row: Mapping[str, Any], given: Mapping[str, str | None], where: str
    ) -> tuple[str | None, str | None]:
        """Read the split and the role of a row; None for one that it does not state.

        The split is LEFT_OUT where `given` has null for its name.

        Args:
            row: values by column.
            given: the user's `data.split_names`: the meaning of each name of a split.
            where: file and line of the row, for messages.

        Raises:
            DataError: the name of the split or of the role is not understood.
        """
        value = self.text(row, "split", where)
        stated = self._role(row, where)
        if not value or value.casefold() in UNKNOWN_VALUES:
            return None, stated
        meant = given.get(value, value)
        if meant is None:
            return LEFT_OUT, None
        named = split_named(meant)
        if named is None:
            raise DataError(
                f"{where}: split '{value}' is none of {', '.join(SPLIT_NAMES)}: say what it is "
                f"with data.split_names={{{value}: test}}, or cut new splits of all items with "
                "data.stated_splits=false"
            )
        return named[0], stated or named[1]

    def _role(self, row: Mapping[str, Any], where: str) -> str | None:
        value = self.text(row, "role", where)
        if not value or value.casefold() in UNKNOWN_VALUES:
            return None
        role = role_named(value)
        if role is None:
            raise DataError(f"{where}: role '{value}' is none of {', '.join(ROLES)}")
        return role

    def report(self, report: Report, attributes: Sequence[str]) -> None:
        """Note columns that are read under another name, unused columns, and missing attributes."""
        renamed = [f"{column} as {name}" for name, column in self.fields.items() if column != name]
        if renamed:
            report.note(f"{self.table}: reading column {', column '.join(renamed)}")
        if self.unused:
            hints = [
                f"data.columns.{name}={column}"
                for name in self.missing
                if (column := _suggested(name, self.unused)) is not None
            ]
            hint = f"; to use one, for example {' '.join(hints)}" if hints else ""
            report.warn(f"{self.table}: columns that are not used: {', '.join(self.unused)}{hint}")
        unread = [name for name in attributes if name in self.missing]
        if unread:
            report.note(f"{self.table} has no column {', '.join(unread)}: read from the text")

    def check_splits(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Check that no unused column looks like a split.

        Args:
            rows: rows of the table with its unused text columns; reading stops once no column can
                be a split any more.

        Raises:
            DataError: all values of an unused column are names of splits, and there are several,
                or the column has a name that is often that of a split.
        """
        if "split" in self.fields:
            return
        held: dict[str, set[str]] = {name: set() for name in self.unused}
        for _, row in rows:
            for name in list(held):
                if name not in row:
                    continue
                value = row[name]
                text = value.strip() if isinstance(value, str) else value
                if text in (None, "") or str(text).casefold() in UNKNOWN_VALUES:
                    continue
                if isinstance(text, str) and looks_like_split(text):
                    held[name].add(text)
                else:
                    del held[name]
            if not held:
                return
        for name, values in held.items():
            if len(values) > 1 or (values and _plain(name) in _OFTEN_NAMED["split"]):
                raise DataError(
                    f"{self.table}: column {name} looks like a split ({', '.join(sorted(values))})"
                    f": use it with data.columns.split={name}, or cut new splits with "
                    "data.stated_splits=false"
                )


def photo_in(value: object, where: str) -> bytes | str | None:
    """Read a cell of the image column: an encoded photo, a path, or None if it is empty.

    Raises:
        DataError: the cell has neither a photo nor a path.
    """
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():  # an Image of `datasets`
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, Path):
        return str(value)
    return as_text(value, "image", where) or None


def photo_path(value: object) -> str:
    """Read the path of a photo from a cell, with slashes; "" if the cell has no path."""
    path = value.get("path") if isinstance(value, dict) else value
    return path.strip().replace("\\", "/") if isinstance(path, str) else ""


def _plain(name: str) -> str:
    """Normalise a column's name: case, punctuation and the spelling of colour."""
    return re.sub(r"[\W_]+", "_", name.strip().casefold()).replace("colour", "color")


def _column_of(field: str, present: Sequence[str], where: str) -> str | None:
    """Find the column of a field: the one of its name, else one with an equivalent name."""
    if field in present:
        return field
    near = [column for column in present if _plain(column) == _plain(field)]
    if len(near) > 1:
        raise DataError(
            f"{where}: columns {' and '.join(near)} may both be {field}: name one with "
            f"data.columns.{field}={near[0]}"
        )
    return near[0] if near else None


def _suggested(field: str, columns: Sequence[str]) -> str | None:
    """Find a column with another common name of a field."""
    plain = {_plain(column): column for column in columns}
    return next((plain[name] for name in _OFTEN_NAMED.get(field, ()) if name in plain), None)
