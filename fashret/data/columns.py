"""Items from the columns of a table: a user's CSV, or a data set of the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fashret.data.report import Report
from fashret.errors import DataError

STANDARD = ("item_id", "image", "text", "category", "product_id", "split", "role")
"""The columns that are found by these names unless a mapping says otherwise."""

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class ColumnMap:
    """Which column of a table holds which field of an item."""

    fields: Mapping[str, str]

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

        Args:
            present: the table's columns.
            given: column by field, from `data.columns`; null finds the field by its own name.
            attributes: the attribute columns of the item table.
            where: the table, for messages.

        Raises:
            DataError: `data.columns` names a field or a column that does not exist.
        """
        known = (*STANDARD, *attributes)
        for name, column in given.items():
            if name not in known:
                raise DataError(
                    f"data.columns.{name}: there is no such field; there are {', '.join(known)}"
                )
            if column is not None and column not in present:
                raise DataError(
                    f"data.columns.{name}={column}: {where} has no such column; it has "
                    f"{', '.join(present)}"
                )
        fields = {name: name for name in known if name in present}
        return cls(fields | {name: column for name, column in given.items() if column})

    def text(self, row: Mapping[str, Any], name: str) -> str:
        """A field of a row as text, "" where it is missing."""
        column = self.fields.get(name)
        value = None if column is None else row.get(column)
        if value is None or value != value:  # NaN, the only value that differs from itself
            return ""
        return str(value).strip()

    def split(self, row: Mapping[str, Any], where: str) -> str | None:
        """The split that a row states.

        Raises:
            DataError: it states one of another name.
        """
        value = self.text(row, "split").lower()
        if not value:
            return None
        if value not in _SPLIT_NAMES:
            raise DataError(f"{where}: split '{value}' is none of {', '.join(_SPLIT_NAMES)}")
        return _SPLIT_NAMES[value]


def report_missing(columns: ColumnMap, attributes: Sequence[str], report: Report) -> None:
    """Say which attributes the table has no column for."""
    missing = [name for name in attributes if name not in columns.fields]
    if missing:
        report.note(f"no column for {', '.join(missing)}: read from the text")
