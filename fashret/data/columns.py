"""Items from the columns of a table: a user's CSV, or a data set of the hub."""

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
"""The columns that are found by these names unless a mapping says otherwise."""

LEFT_OUT = ""
"""The split of a row that the user does not want."""

_OFTEN_NAMED = {
    "item_id": ("id", "sku", "article_id", "image_id"),
    "image": ("photo", "picture", "path", "file", "filename", "image_path", "image_name"),
    "text": ("title", "caption", "name", "description", "product_name", "product_title"),
    "category": ("type", "product_type", "article_type", "class", "label", "product_category"),
    "product_id": ("product", "item_group_id", "style", "style_id", "parent_id", "group_id"),
    "split": ("subset", "partition", "set", "fold", "phase", "evaluation_status"),
}
"""What other tables call these columns: such a name is suggested, not taken."""


@dataclass(frozen=True)
class ColumnMap:
    """Which column of a table holds which field of an item.

    Attributes:
        fields: column by field.
        unused: the columns that hold no field.
        missing: the fields that no column holds.
        table: the table, for messages.
    """

    fields: Mapping[str, str]
    unused: Sequence[str]
    missing: Sequence[str]
    table: str

    @classmethod
    def over(
        cls,
        present: Sequence[str],
        given: Mapping[str, str | None],
        attributes: Sequence[str],
        *,
        where: str,
    ) -> "ColumnMap":
        """Match fields and columns.

        A column is found by the field's name, else by one that differs in case, spaces, hyphens or
        the spelling of colour (` Category`, `Product-ID`, `color`).

        Args:
            present: the table's columns.
            given: column by field, from `data.columns`; null finds the field by its own name.
            attributes: the attribute columns of the item table.
            where: the table, for messages.

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
        """A field of a row as text, "" where it is missing.

        Raises:
            DataError: the cell holds a list or a mapping.
        """
        column = self.fields.get(name)
        return "" if column is None else as_text(row.get(column), column, where)

    def split(
        self, row: Mapping[str, Any], given: Mapping[str, str | None], where: str
    ) -> tuple[str | None, str | None]:
        """The split and the role that a row states, None for what it does not state.

        The split is LEFT_OUT where `given` says null.

        Args:
            row: the values by column.
            given: what the user says that names of splits mean.
            where: the row, for messages.

        Raises:
            DataError: it states one of another name.
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
        """Say which columns are used by another name, which are not used, and what is missing."""
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
        """Make sure that no unused column states splits.

        Args:
            rows: of the table, with the unused columns that hold texts; they are read while one of
                them may state splits.

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
    """What a cell of photos holds: an encoded photo, a path, or None where it is empty.

    Raises:
        DataError: it holds something else.
    """
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():  # an Image of `datasets`
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, Path):
        return str(value)
    return as_text(value, "image", where) or None


def photo_path(value: object) -> str:
    """The path that a cell names its photo by, "" where it names none.

    That of Windows is written with slashes.
    """
    path = value.get("path") if isinstance(value, dict) else value
    return path.strip().replace("\\", "/") if isinstance(path, str) else ""


def _plain(name: str) -> str:
    """A column's name without what people write differently."""
    return re.sub(r"[\W_]+", "_", name.strip().casefold()).replace("colour", "color")


def _column_of(field: str, present: Sequence[str], where: str) -> str | None:
    """The column of a field: the one of its name, else the one of nearly its name."""
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
    """A column whose name often stands for a field."""
    plain = {_plain(column): column for column in columns}
    return next((plain[name] for name in _OFTEN_NAMED.get(field, ()) if name in plain), None)
