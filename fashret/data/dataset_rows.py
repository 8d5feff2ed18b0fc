"""Rows of a data set of the `datasets` library, in memory-mapped files or in shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tarfile import TarError
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, Image, IterableDataset, Value

from fashret.data.tables import label_name
from fashret.errors import DataError

_READ = 256
"""Rows that are read at a time."""

_SHARDS = (".parquet", ".tar")

_WEBDATASET = {
    "image": ("jpg", "jpeg", "png", "webp"),
    "text": ("txt", "caption"),
    "item_id": ("__key__",),
}
"""The names of files in the shards of a WebDataset, by field."""


class DatasetRows:
    """The rows of one split: photos as they are encoded, class labels by name.

    The fields of a WebDataset's `json` are columns like the others.

    Args:
        rows: the split; a streamed one is read from its start each time.
        where: config key and value of the data set, for messages.

    Attributes:
        features: type by column.
    """

    def __init__(self, rows: Dataset | IterableDataset, where: str) -> None:
        self._rows, self._where = rows, where
        inner = rows.features.get("json") if self.is_webdataset else None
        self._inner = dict(inner) if isinstance(inner, dict) else {}
        outer = {name: kind for name, kind in rows.features.items() if name not in self._own}
        self.features = self._inner | outer

    @property
    def is_streamed(self) -> bool:
        """Whether the rows are read from shards, without a copy in the cache of `datasets`."""
        return isinstance(self._rows, IterableDataset)

    @property
    def is_webdataset(self) -> bool:
        """Whether the rows are samples of a WebDataset."""
        return "__key__" in self._rows.features

    @property
    def fingerprint(self) -> str | None:
        """The library's own hash of the rows; None for shards, whose files are hashed."""
        return None if self.is_streamed else str(self._rows._fingerprint)

    @property
    def usual_columns(self) -> dict[str, str]:
        """Column by field, where the format of the rows says which it is."""
        if not self.is_webdataset:
            return {}
        found = {
            field: next((name for name in names if name in self.features), None)
            for field, names in _WEBDATASET.items()
        }
        return {field: name for field, name in found.items() if name and field not in self.features}

    def texts(self, names: Sequence[str]) -> list[str]:
        """Select the columns that hold text."""
        return [
            name
            for name in names
            if isinstance(self.features[name], ClassLabel)
            or getattr(self.features[name], "dtype", None) == "string"
        ]

    def read(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows with some of their columns."""
        names = list(dict.fromkeys(names))  # one may hold two fields
        own = [name for name in names if name not in self._inner]
        inside = [name for name in names if name in self._inner]
        rows = self._rows.select_columns([*own, *(["json"] if inside else [])])
        for name in own:
            if isinstance(self.features[name], Image):
                rows = rows.cast_column(name, Image(decode=False))
        labels = {n: self.features[n] for n in own if isinstance(self.features[n], ClassLabel)}
        for part in self._parts(rows):
            for values in zip(*part.values(), strict=True):
                row = dict(zip(part, values, strict=True))
                held = row.pop("json", None) or {} if inside else {}
                named = {name: label_name(row[name], label) for name, label in labels.items()}
                yield row | {name: held.get(name) for name in inside} | named

    def _parts(self, rows: Dataset | IterableDataset) -> Iterator[dict[str, list[Any]]]:
        try:
            yield from rows.iter(batch_size=_READ)
        except (OSError, ValueError, pa.ArrowException, TarError) as e:
            raise DataError(f"{self._where} cannot be read to its end: {e}") from e

    def number_of_rows(self) -> int:
        """Count the rows; shards are read for it."""
        if not self.is_streamed:
            return len(self._rows)
        values = (name for name, kind in self.features.items() if isinstance(kind, Value))
        return sum(1 for _ in self.read([next(values, next(iter(self.features)))]))

    @property
    def _own(self) -> set[str]:
        return {"json", "__url__"} if self.is_webdataset else set()


def shards_of(folder: Path) -> list[Path]:
    """Find the shards of parquet or WebDataset in a folder, by name."""
    return sorted(p for p in folder.rglob("*") if p.suffix in _SHARDS and p.is_file())
