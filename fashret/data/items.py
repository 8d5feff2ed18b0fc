"""The item table of a prepared data set: one row per item."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import load_from_disk
from numpy.typing import NDArray

from fashret.data.splits import SPLITS

UNKNOWN_VALUES = ("", "unknown")
"""Spellings of an unknown value in a prepared table."""


class ItemTable:
    """The items of a prepared data set: rows ordered train, validation, test.

    Args:
        folder: the folder that `prepare` wrote.
        attributes: names of the attribute columns.

    Attributes:
        key: name and hash of the data set's preparation, the folder's name.
    """

    def __init__(self, folder: Path, attributes: Sequence[str]) -> None:
        self.folder = folder
        self.attributes = tuple(attributes)
        self.dataset = load_from_disk(str(folder / "table"))
        self.key = folder.name

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def report(self) -> dict[str, Any]:
        """The preparation report, as in report.json."""
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report

    @property
    def categorical_columns(self) -> tuple[str, ...]:
        """Names of the columns with values to match: the category and the attributes."""
        return ("category", *self.attributes)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have items."""
        return tuple(split for split in SPLITS if len(self.rows(split)))

    def rows(self, split: str) -> NDArray[np.int64]:
        """Find the rows of a split: (n,) long, ascending."""
        return np.flatnonzero(self._split_codes == SPLITS.index(split)).astype(np.int64)

    def column(self, name: str) -> list[Any]:
        """Read a column's values, row by row. For photos use `photo`."""
        values: list[Any] = self.dataset.data.column(name).to_pylist()
        return values

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Encode a column as codes into its sorted distinct values.

        Returns:
            (N,) long codes, -1 where the value is null, empty or `unknown`; and the values.
        """
        return _encode(self.dataset.data.column(name))

    def products(self, min_confidence: float = 0.0) -> NDArray[np.int64]:
        """Encode the product ids: (N,) long, -1 where there is none or its confidence is lower."""
        codes = self.codes("product_id")[0]
        return np.where(self.confidence < min_confidence, -1, codes)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) confidence of each row's product, 0 to 1."""
        stored = self.dataset.data.column("product_confidence").to_numpy()
        return np.array(stored, dtype=np.float32)  # a copy: the stored array is read-only

    @property
    def photo_hashes(self) -> list[str] | None:
        """Hash of each row's photo file; None for a table that was prepared without hashes."""
        return self.column("photo_hash") if "photo_hash" in self.dataset.column_names else None

    @property
    def photo_codes(self) -> NDArray[np.int64]:
        """(N,) code of each row's photo, equal for copies of one photo."""
        return np.array(self.dataset.data.column("photo").to_numpy(), dtype=np.int64)

    def photo(self, row: int) -> bytes:
        """Read the encoded photo of a row."""
        encoded: bytes = self._photos[int(row)].as_py()
        return encoded

    @cached_property
    def _photos(self) -> pa.ChunkedArray:
        return pc.struct_field(self.dataset.data.column("image"), "bytes")

    @cached_property
    def _split_codes(self) -> NDArray[np.int64]:
        return np.array([SPLITS.index(split) for split in self.column("split")])


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Encode a string column; see `ItemTable.codes`."""
    unknown = pc.is_in(column, value_set=pa.array(UNKNOWN_VALUES))
    known = pc.if_else(unknown, pa.scalar(None, pa.string()), column)
    values = sorted(value for value in pc.unique(known).to_pylist() if value is not None)
    codes = pc.index_in(known, value_set=pa.array(values, pa.string()))
    return pc.fill_null(codes, -1).to_numpy().astype(np.int64), values
