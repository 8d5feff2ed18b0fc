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
from fashret.data.string_columns import Strings, encode

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
        codes, values = encode(self.dataset.data.column(name), UNKNOWN_VALUES)
        return codes.astype(np.int64), values.to_pylist()

    def text_codes(self) -> tuple[NDArray[np.int64], Sequence[str]]:
        """Encode the texts as `codes` does, without a list of the distinct ones in memory."""
        codes, values = encode(self.dataset.data.column("text"), UNKNOWN_VALUES)
        return codes.astype(np.int64), Strings(values)

    def products(self, min_confidence: float = 0.0) -> NDArray[np.int64]:
        """Encode the product ids: (N,) long, -1 where there is none or its confidence is lower."""
        codes = encode(self.dataset.data.column("product_id"), UNKNOWN_VALUES)[0]
        return np.where(self.confidence < min_confidence, -1, codes.astype(np.int64))

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) confidence of each row's product, 0 to 1."""
        stored = self.dataset.data.column("product_confidence").to_numpy()
        return np.array(stored, dtype=np.float32)  # a copy: the stored array is read-only

    def item_id(self, row: int) -> str:
        """Read the id of a row."""
        found: str = self.dataset.data.column("item_id")[int(row)].as_py()
        return found

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
    def _split_codes(self) -> NDArray[np.int8]:
        found = pc.index_in(self.dataset.data.column("split"), value_set=pa.array(SPLITS))
        codes: NDArray[np.int8] = found.to_numpy().astype(np.int8)
        return codes
