"""Hard negatives from the baseline's catalog."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.data.mined import MinedBatches
from fashret.data.samplers import RowBatches
from fashret.errors import ConfigError
from fashret.functional.mining import hard_negatives
from fashret.types import UNKNOWN, Relations

log = logging.getLogger(__name__)

_NOT_ATTRIBUTES = (
    "item_id",
    "product_id",
    "product_confidence",
    "split",
    "role",
    "text",
    "category",
)


class HardMiner:
    """Puts the nearest items of the same category that differ in a known attribute into a batch.

    They are what the untrained model takes for the same, and is wrong about. Batches move from
    random to mined ones over the first epochs.

    Args:
        folder: where `hard_negatives.parquet` and its counts are written.
        depth: how many nearest of its category an item looks at.
        keep: how many hard negatives it keeps at most.
        attributes: which attributes count as a difference; null for all.
        ramp: epochs until the batches are as hard as they become.
        random: the share of a batch that stays random, 0 to 1.
    """

    def __init__(
        self,
        *,
        folder: str,
        depth: int = 50,
        keep: int = 10,
        attributes: list[str] | None = None,
        ramp: int = 5,
        random: float = 0.3,
    ) -> None:
        if not 0.0 <= random <= 1.0 or ramp < 0 or depth < 1 or keep < 1:
            raise ConfigError(
                f"miner: random={random} must be within 0 and 1, ramp={ramp} at least 0, "
                f"depth={depth} and keep={keep} at least 1"
            )
        self.folder = Path(folder)
        self.depth = depth
        self.keep = keep
        self.attributes = attributes
        self.ramp = ramp
        self.random = random
        self._partners = np.zeros((0, 0), dtype=np.int64)

    def prepare(self, catalog: Catalog) -> None:
        """Mine the training items, and write what was found.

        Raises:
            ConfigError: an attribute is none of the catalog's.
        """
        meta = catalog.meta()
        known = [name for name in meta.columns if name not in _NOT_ATTRIBUTES]
        names = known if self.attributes is None else self.attributes
        for name in names:
            if name not in known:
                raise ConfigError(f"miner.attributes names {name}; there are {', '.join(known)}")
        rows = torch.from_numpy(np.flatnonzero(meta["split"] == "train"))
        codes = {
            name: _codes(meta[name])[rows] for name in ("category", "product_id", "text", *names)
        }
        empty = torch.zeros(len(rows), 0, dtype=torch.long)
        pairs = hard_negatives(
            catalog.image[rows].float(),
            codes["category"],
            codes["product_id"],
            codes["text"],
            torch.stack([codes[name] for name in names], dim=1) if names else empty,
            depth=self.depth,
            keep=self.keep,
        )
        anchor, negative = rows[pairs.anchor].numpy(), rows[pairs.negative].numpy()
        ids = meta["item_id"].to_numpy()
        frame = pd.DataFrame(
            {
                "anchor_id": ids[anchor],
                "negative_id": ids[negative],
                "rank": pairs.rank.numpy(),
                "similarity": pairs.similarity.numpy(),
                "differs": [
                    [names[i] for i in np.flatnonzero(row)] for row in pairs.differs.numpy()
                ],
            }
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(self.folder / "hard_negatives.parquet", index=False)
        (self.folder / "hard_negatives.json").write_text(json.dumps(pairs.counts, indent=1))
        log.info("hard negatives: %s", ", ".join(f"{n} {what}" for what, n in pairs.counts.items()))
        self._partners = _table(anchor, negative, len(meta), self.keep)

    def compose(self, batches: RowBatches, *, seed: int) -> RowBatches:
        """Batches of anchors and their hard negatives."""
        return MinedBatches(batches, self._partners, ramp=self.ramp, random=self.random, seed=seed)

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """The relations as they are: what is hard is in the batch."""
        return relations


def _codes(column: "pd.Series[str]") -> Tensor:
    """(N,) long codes of a column; UNKNOWN for what is missing, empty or unknown."""
    known = column.where(~column.isin(["", "unknown"]))
    codes = pd.factorize(known, use_na_sentinel=True)[0]
    assert UNKNOWN == -1  # pandas' sentinel
    return torch.from_numpy(codes.astype(np.int64))


def _table(
    anchor: NDArray[np.int64], negative: NDArray[np.int64], count: int, keep: int
) -> NDArray[np.int64]:
    """Pairs in the order of their anchors as (count, keep) rows, -1 where there are fewer."""
    table = np.full((count, keep), -1, dtype=np.int64)
    first = np.searchsorted(anchor, anchor, side="left")
    table[anchor, np.arange(len(anchor)) - first] = negative
    return table
