"""What sets of files have in common: where they lie, and how their lists are read."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fashret.data.preparation_report import Report
from fashret.data.source import Source
from fashret.errors import DataError


@dataclass(kw_only=True)
class OnDisk(Source):
    """A set whose files lie in a folder.

    Args:
        root: the folder.
    """

    root: str | None = None

    address: ClassVar[str]
    """Where the files are to be had."""
    layout: ClassVar[str]
    """What the folder holds."""
    photos: ClassVar[str]
    """The folder of photos in it."""
    tables: ClassVar[tuple[str, ...]]
    """The other files that decide what the items are: paths or patterns below the root."""

    def identity(self) -> dict[str, Any]:
        """Nothing but the files."""
        self.folder()
        return {}

    def files(self) -> Iterator[tuple[str, str]]:
        """Every table and photo, by its path below the root."""
        root = self.folder().absolute()
        start = len(str(root)) + 1
        for pattern in self.tables:
            for path in map(str, sorted(root.glob(pattern))):
                yield path[start:], path
        for folder, below, names in os.walk(root / self.photo_folder, followlinks=True):
            below.sort()
            for name in sorted(names):
                photo = f"{folder}/{name}"
                yield photo[start:], photo

    @property
    def photo_folder(self) -> str:
        """The folder of photos below the root."""
        return self.photos

    def folder(self) -> Path:
        """The folder.

        Raises:
            DataError: it is not given, or not there.
        """
        if self.root is None:
            raise DataError(f"data.root is not set: {self._wanted()}")
        path = Path(self.root).expanduser()
        if not path.is_dir():
            raise DataError(f"data.root={self.root} is not a folder: {self._wanted()}")
        return path

    def file(self, *names: str) -> Path:
        """A file of the set: the first of the names that it goes by in its copies.

        Raises:
            DataError: none of them is there.
        """
        path = self.optional(*names)
        if path is None:
            raise DataError(
                f"data.root={self.root} holds no {' nor '.join(names)}: {self._wanted()}"
            )
        return path

    def optional(self, *names: str) -> Path | None:
        """A file that the set can do without, or None."""
        root = self.folder()
        return next((root / name for name in names if (root / name).exists()), None)

    def stated(self, attribute: str, label: str) -> str:
        """A label of the set: by the schema's name where it has one, else in lower case."""
        value = None if self.parser is None else self.parser.value(attribute, label)
        return value or label.strip().lower()

    def official(self, labels: list[str]) -> dict[int, tuple[str, str]]:
        """What the official labels of a set state in the schema's words.

        A label that the schema does not know states nothing.

        Args:
            labels: their names.

        Returns:
            Attribute and value by place of the label, in the schema's order of values: where an
            item has two labels of one attribute, the first counts.
        """
        if self.parser is None:
            return {}
        known = []
        for name in self.attributes:
            values = self.parser.attributes.get(name, {}).get("values")
            order = list(values) if isinstance(values, Mapping) else []
            for place, label in enumerate(labels):
                value = self.parser.value(name, label)
                if value is not None:
                    known.append((order.index(value), place, name, value))
        return {place: (name, value) for _, place, name, value in sorted(known)}

    def _wanted(self) -> str:
        return f"it should hold {self.layout}; to be had from {self.address}"


def read_list(
    path: Path, fields: int, report: Report, *, items: bool = False, blanks: str = "first"
) -> Iterator[tuple[str, list[str]]]:
    """The rows of a DeepFashion list: line 1 their number, line 2 the header, then the rows.

    Fields are parted by runs of blanks. A row of fewer fields is left out and counted; a number
    of rows that is not the stated one is noted.

    Args:
        path: the list.
        fields: in a row.
        report: where that is counted.
        items: rows are items of the set: each counts as a row in, one that is left out as dropped.
        blanks: which field may hold blanks itself, the first or the last.

    Yields:
        Where the row stands, for messages, and its fields.

    Raises:
        DataError: line 1 is no number.
    """
    with path.open(encoding="utf-8") as file:
        stated = file.readline().strip()
        if not stated.isdigit():
            raise DataError(f"{path} line 1 is '{stated[:40]}': the number of rows is expected")
        file.readline()
        rows = 0
        for number, line in enumerate(file, start=3):
            if not line.strip():
                continue
            rows += 1
            report.rows_in += items
            split = line.strip().rsplit if blanks == "first" else line.strip().split
            found = split(None, fields - 1)
            where = f"{path.name} line {number}"
            if len(found) == fields:
                yield where, found
            elif items:
                report.drop("too few fields", f"{where}: {line.strip()[:80]}")
            else:
                report.repair(f"row of {path.name} without all fields left out", where)
    report.expect(f"rows of {path.name}", int(stated), rows)


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        DataError: it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise DataError(f"{path} cannot be read as JSON: {e}") from e
