"""Data leakage: the items that a run was trained on, and their overlap with evaluated items."""

import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.data.product_grouping import STATED
from fashret.types import UNKNOWN

TRAINING_ITEMS = "training_items.parquet"
"""The file name of the training record in a run folder."""

_KEY = b"data"
_EMBEDDINGS = b"embeddings"


@dataclass(frozen=True)
class TrainingRecord:
    """The items that a run was trained on.

    Attributes:
        data: key of the item table of these items.
        item_ids: ids of the items, which are unique within that data set only.
        photo_hashes: hashes of their photos' bytes; None for a table prepared without hashes.
        embeddings: the hashes of the imported embeddings; None for a model with towers.
    """

    data: str
    item_ids: Set[str]
    photo_hashes: Set[str] | None
    embeddings: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "TrainingRecord | None":
        """Read the record of a run folder; None if there is none."""
        path = folder / TRAINING_ITEMS
        if not path.is_file():
            return None
        record = pq.read_table(path)
        names = record.column_names
        return cls(
            record.schema.metadata[_KEY].decode(),
            frozenset(record.column("item_id").to_pylist()),
            frozenset(record.column("photo_hash").to_pylist()) if "photo_hash" in names else None,
            record.schema.metadata.get(_EMBEDDINGS, b"").decode() or None,
        )

    def overlap(self, table: ItemTable, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Find the rows of a table that the run was trained on.

        In the run's own table they are matched by item id. In another table they are matched by the
        hashes of their photos, since ids may have been renamed and other data sets may use the same
        ids; or by item id if there are no hashes and the data set has the same name.

        Args:
            table: the item table that is evaluated.
            rows: (n,) long rows that are evaluated.

        Returns:
            The rows that were trained on, ascending; None if they cannot be determined.
        """
        hashes = table.photo_hashes
        if self.data != table.key and hashes is not None and self.photo_hashes is not None:
            return _found(hashes, self.photo_hashes, rows)
        if _name(self.data) == _name(table.key):
            return _found(table.column("item_id"), self.item_ids, rows)
        return None


def write_training_record(
    folder: Path, table: ItemTable, rows: NDArray[np.int64], embeddings: str | None = None
) -> None:
    """Write the training record of a run.

    Args:
        folder: the run folder.
        table: the item table.
        rows: (n,) long rows that the run is trained on.
        embeddings: the hashes of the imported embeddings; None for a model with towers.
    """
    ids, hashes = table.column("item_id"), table.photo_hashes
    columns = {"item_id": [ids[row] for row in rows]}
    if hashes is not None:
        columns["photo_hash"] = [hashes[row] for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{TRAINING_ITEMS}.partial"
    about = {_KEY: table.key, _EMBEDDINGS: embeddings or ""}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), partial)
    os.replace(partial, folder / TRAINING_ITEMS)


def find_leaking(
    table: ItemTable, rows: Tensor, product: Tensor, joined: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the training items whose product or photo also occurs in another split.

    Stated products go to one split each, so that only inferred ones can leak.

    Args:
        table: all N items.
        rows: (n,) long: the training items.
        product: (N,) long: code of each item's product.
        joined: (N,) bool: the product was inferred from title and photo.
        confidence: (N,) float confidence of each product, 0 to 1.

    Returns:
        (n,) bool: those that leak; (n,) bool: those whose photo itself is in another split.
    """
    elsewhere = torch.ones(len(table), dtype=torch.bool)
    elsewhere[rows] = False
    inferred = (joined | (confidence < STATED))[rows] & (product[rows] != UNKNOWN)
    photo = torch.from_numpy(table.photo_codes)
    copied = torch.isin(photo[rows], photo[elsewhere])
    return copied | (inferred & torch.isin(product[rows], product[elsewhere])), copied


def _found(values: list[str], trained: Set[str], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([row for row in rows if values[row] in trained], dtype=np.int64)


def _name(key: str) -> str:
    """Return the data set's part of a table's key."""
    return key.rpartition("-")[0]
