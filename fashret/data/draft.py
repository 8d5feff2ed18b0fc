"""The items of a table that is prepared, in files: what decides products and splits, by column."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Image, Value, concatenate_datasets
from datasets.arrow_writer import ArrowWriter
from numpy.typing import NDArray

from fashret.data.photo_copies import SIGNATURE_BYTES
from fashret.data.product_grouping import Products
from fashret.data.source import Item
from fashret.data.splits import SPLITS

_ROWS, _SIGNATURES, _DECIDED = "draft.arrow", "signatures", "decided.arrow"
_STRING, _BUCKETS, _WRITTEN = Value("string"), 1 << 14, 1 << 14

_BATCH_BYTES, _ROW_BYTES, _ALL = 1 << 25, 1 << 11, 1 << 40
"""Bytes that are written at a time, bytes of a row besides its photo, and no number of rows."""

_FACTS = {
    "_product": _STRING,
    "_confidence": Value("float64"),
    "_split": _STRING,
    "_group": _STRING,
    "_role": _STRING,
    "_key": _STRING,
    "_fixed": Value("bool"),
}
"""What decides products and splits; the prepared table has none of these columns."""


class DraftWriter:
    """Writes the items of a table as they are read; none stays in memory.

    Args:
        folder: the folder of the files, removed by the caller.
        attributes: the attribute columns.

    Attributes:
        count: number of items.
        without_split: the first item that states no split, for messages; None for none.
    """

    def __init__(self, folder: Path, attributes: Sequence[str]) -> None:
        self.count = 0
        self.without_split: str | None = None
        self._folder, self._attributes = folder, attributes
        item = dict.fromkeys(("text", "category", *attributes, "photo_hash"), _STRING)
        features = Features({"item_id": _STRING, "image": Image(), **item, **_FACTS})
        # A batch of rows costs memory of whoever opens the file: few large ones, by bytes.
        self._rows = ArrowWriter(
            path=str(folder / _ROWS), features=features, writer_batch_size=_ALL
        )
        self._pending = 0
        self._signatures = (folder / _SIGNATURES).open("wb")

    def add(
        self, item: Item, encoded: bytes, photo_hash: str, signature: bytes, key: str | None
    ) -> None:
        """Write an item.

        Args:
            item: the item, described and corrected.
            encoded: its photo.
            photo_hash: hash of the photo's bytes.
            signature: signature of the photo's pixels.
            key: what joins items of one photo into one product (`Source.join_key`).
        """
        self.count += 1
        if item.split is None and self.without_split is None:
            self.without_split = item.origin or item.item_id
        self._signatures.write(signature)
        self._pending += len(encoded) + _ROW_BYTES
        if self._pending > _BATCH_BYTES:
            self._rows.write_examples_on_file()
            self._pending = 0
        by_hand = "product_id" in item.by_hand
        self._rows.write(
            {
                "item_id": item.item_id,
                "image": {"bytes": encoded, "path": None},
                "text": item.text,
                "category": item.category or "unknown",
                **{name: item.attributes.get(name) or "unknown" for name in self._attributes},
                "photo_hash": photo_hash,
                "_product": item.product_id,
                "_confidence": item.product_confidence,
                "_split": item.split,
                "_group": item.split_group or None,
                "_role": item.role or None,
                "_key": None if by_hand else key,
                "_fixed": by_hand,
            }
        )

    def finish(self) -> "Draft":
        """Complete the files, and open them."""
        self._rows.finalize()
        self._signatures.close()
        return Draft(self._folder)

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._signatures.close()


class Draft:
    """The items that a `DraftWriter` wrote, by column.

    Args:
        folder: the folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = Dataset.from_file(str(folder / _ROWS))

    def __len__(self) -> int:
        return len(self._rows)

    def table(
        self, products: Products, photos: NDArray[np.int32], splits: NDArray[np.int8]
    ) -> Dataset:
        """Join the items with what was decided of them, as the prepared table has it.

        Args:
            products: the product of each item.
            photos: (N,) int codes of photos, equal for copies.
            splits: (N,) number of each item's split, in the order of `SPLITS`.
        """
        decided = Features(
            {"product_id": _STRING, "product_confidence": Value("float32"),
             "photo": Value("int64"), "split": _STRING}
        )  # fmt: skip
        path, names = self._folder / _DECIDED, pa.array(SPLITS)
        with pa.ipc.new_stream(str(path), decided.arrow_schema) as stream:
            for start in range(0, len(self), _WRITTEN):
                part = slice(start, start + _WRITTEN)
                columns = [
                    products.column(part),
                    pa.array(products.confidence[part], pa.float32()),
                    pa.array(photos[part], pa.int64()),
                    names.take(pa.array(splits[part])),
                ]
                stream.write_batch(pa.record_batch(columns, schema=decided.arrow_schema))
        joined = concatenate_datasets([self._rows, Dataset.from_file(str(path))], axis=1)
        own = [name for name in self._rows.column_names if name not in {*_FACTS, "photo_hash"}]
        last = ["product_id", "product_confidence", "photo_hash", "photo", "split"]
        if self.strings("_role").null_count < len(self):
            joined = joined.rename_column("_role", "role")
            last.append("role")
        return joined.select_columns([*own, *last])

    def strings(self, name: str) -> pa.ChunkedArray:
        """A column of strings of the items, or `_product`, `_split`, `_group`, `_role`, `_key`."""
        return self._rows.data.column(name)

    def item_id(self, row: int) -> str:
        """The id of an item."""
        found: str = self._rows.data.column("item_id")[int(row)].as_py()
        return found

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N,) confidence of each item's product, 0 to 1."""
        return np.array(self._rows.data.column("_confidence").to_numpy())

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """(N,) whether a person corrected the item's product."""
        return np.array(self._rows.data.column("_fixed").to_numpy(), dtype=bool)

    @cached_property
    def signatures(self) -> NDArray[np.uint8]:
        """(N, SIGNATURE_BYTES) signatures of the photos."""
        shape = (len(self), SIGNATURE_BYTES)
        return np.memmap(self._folder / _SIGNATURES, np.uint8, "r", shape=shape)

    def delete(self) -> None:
        """Delete the files."""
        for name in (_ROWS, _SIGNATURES, _DECIDED):
            (self._folder / name).unlink()


class SeenIds:
    """Ids that were seen, by hashes of 16 bytes: a fifth of the memory of a set of strings."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, item_id: str) -> bool:
        """Add an id, and return whether it is new."""
        digest = hashlib.blake2b(item_id.encode(), digest_size=16).digest()
        bucket = self._buckets[int.from_bytes(digest[:4], "little") % _BUCKETS]
        at = bucket.find(digest)
        while at >= 0 and at % 16:  # across two hashes
            at = bucket.find(digest, at + 1)
        if at < 0:
            bucket += digest
        return at < 0
