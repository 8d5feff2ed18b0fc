"""Base class of data sets whose files are in a folder, and readers of their lists."""

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
    """A data set whose files are in a folder.

    Args:
        root: path of the folder.
    """

    root: str | None = None

    address: ClassVar[str]
    """Address at which the files can be downloaded or requested."""
    layout: ClassVar[str]
    """The expected content of the folder, for messages."""
    photos: ClassVar[str]
    """Name of the folder of photos in it."""
    tables: ClassVar[tuple[str, ...]]
    """The other files that determine the items: paths or patterns below the root."""

    def identity(self) -> dict[str, Any]:
        """Check that the folder exists; nothing but the files determines the items."""
        self.folder()
        return {}

    def files(self) -> Iterator[tuple[str, str]]:
        """List every table and photo, named by its path below the root."""
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
        """Name of the folder of photos below the root."""
        return self.photos

    def folder(self) -> Path:
        """Return the data set's folder.

        Raises:
            DataError: `data.root` is not set, or is not a folder.
        """
        if self.root is None:
            raise DataError(f"data.root is not set: {self._wanted()}")
        path = Path(self.root).expanduser()
        if not path.is_dir():
            raise DataError(f"data.root={self.root} is not a folder: {self._wanted()}")
        return path

    def file(self, *names: str) -> Path:
        """Find a file of the data set by the names that it has in different copies.

        Raises:
            DataError: the folder has none of them.
        """
        path = self.optional(*names)
        if path is None:
            raise DataError(f"data.root={self.root} has no {' nor '.join(names)}: {self._wanted()}")
        return path

    def optional(self, *names: str) -> Path | None:
        """Find an optional file by the names that it has in different copies; None if missing."""
        root = self.folder()
        return next((root / name for name in names if (root / name).exists()), None)

    def stated(self, attribute: str, label: str) -> str:
        """Translate a label of the data set to the schema's value, else to lower case."""
        value = None if self.parser is None else self.parser.value(attribute, label)
        return value or label.strip().lower()

    def label_meanings(self, labels: list[str]) -> dict[int, tuple[str, str]]:
        """Translate the official labels of a data set to attributes and values of the schema.

        Labels without a value in the schema are ignored.

        Args:
            labels: names of the labels.

        Returns:
            Attribute and value by index of the label, in the schema's order of values: if an item
            has two labels of one attribute, the first one counts.
        """
        if self.parser is None:
            return {}
        meanings = []
        for name in self.attributes:
            values = self.parser.attributes.get(name, {}).get("values")
            order = list(values) if isinstance(values, Mapping) else []
            for index, label in enumerate(labels):
                value = self.parser.value(name, label)
                if value is not None:
                    meanings.append((order.index(value), index, name, value))
        return {index: (name, value) for _, index, name, value in sorted(meanings)}

    def _wanted(self) -> str:
        return f"expected {self.layout}; download it from {self.address}"


def read_list(
    path: Path, fields: int, report: Report, *, items: bool = False, blanks: str = "first"
) -> Iterator[tuple[str, list[str]]]:
    """Read a DeepFashion list: line 1 has the number of rows, line 2 the header, then the rows.

    Fields are separated by runs of blanks. A row with fewer fields is skipped and counted; a wrong
    number of rows is noted.

    Args:
        path: path of the list.
        fields: number of fields in a row.
        report: counts skipped rows.
        items: whether rows are items of the data set: each counts as a row in, and a skipped one
            as dropped.
        blanks: the field that may contain blanks, `first` or `last`.

    Yields:
        File and line of the row, for messages, and its fields.

    Raises:
        DataError: line 1 is not a number.
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
            values = split(None, fields - 1)
            where = f"{path.name} line {number}"
            if len(values) == fields:
                yield where, values
            elif items:
                report.drop("too few fields", f"{where}: {line.strip()[:80]}")
            else:
                report.repair(f"row of {path.name} without all fields left out", where)
    report.expect(f"rows of {path.name}", int(stated), rows)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it cannot be read as JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise DataError(f"{path} cannot be read as JSON: {e}") from e
