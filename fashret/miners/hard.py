"""Hard negatives from the baseline's catalog."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import ConfigError
from fashret.functional.mining import HardPairs, hard_negatives
from fashret.launch_env import is_first
from fashret.loading.mined_sampler import MinedBatches
from fashret.loading.samplers import RowBatches
from fashret.names import listed
from fashret.types import Baseline, Relations, TrainingItems

log = logging.getLogger(__name__)


class HardMiner:
    """Puts the nearest items of the same category that differ in a known attribute into a batch.

    They are what the untrained model takes for the same, and is wrong about. Batches move from
    random to mined ones over the first epochs.

    Args:
        folder: where `hard_negatives.parquet` and its counts are written; None writes neither.
        depth: how many nearest of its category an item looks at.
        keep: how many hard negatives it keeps at most.
        attributes: which attributes count as a difference; null for all.
        ramp: epochs until the batches are as hard as they become.
        random: the share of a batch that stays random, 0 to 1.
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        depth: int = 50,
        keep: int = 10,
        attributes: Sequence[str] | None = None,
        ramp: int = 5,
        random: float = 0.3,
    ) -> None:
        if not 0.0 <= random <= 1.0 or ramp < 0 or depth < 1 or keep < 1:
            raise ConfigError(
                f"miner: random={random} must be within 0 and 1, ramp={ramp} at least 0, "
                f"depth={depth} and keep={keep} at least 1"
            )
        # Every process mines the same; the first has the run folder.
        self.folder = None if folder is None or not is_first() else Path(folder)
        self.depth = depth
        self.keep = keep
        self.attributes = attributes
        self.ramp = ramp
        self.random = random
        self._partners = np.zeros((0, 0), dtype=np.int64)

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine the training items, and write what was found.

        Raises:
            ConfigError: an attribute is none of the data's.
        """
        pairs = self.mine(items, baseline)
        anchor, negative = items.rows[pairs.anchor].numpy(), items.rows[pairs.negative].numpy()
        self._partners = partner_table(anchor, negative, len(items.ids))

    def mine(self, items: TrainingItems, baseline: Baseline) -> HardPairs:
        """Find and write the hard negatives; rows count among `items.rows`.

        Raises:
            ConfigError: an attribute is none of the data's.
        """
        known = [name for name in items.described if name != "category"]
        names = known if self.attributes is None else self.attributes
        for name in names:
            if name not in known:
                raise ConfigError(f"miner.attributes names {name}; there are {listed(name, known)}")
        rows = items.rows
        values = [items.described[name][0][rows] for name in names]
        pairs = hard_negatives(
            baseline.image[rows].float(),
            items.described["category"][0][rows],
            items.product[rows],
            items.caption[rows],
            torch.stack(values, dim=1) if values else torch.zeros(len(rows), 0, dtype=torch.long),
            depth=self.depth,
            keep=self.keep,
        )
        ids = np.array(items.ids, dtype=object)[rows.numpy()]
        frame = pd.DataFrame(
            {
                "anchor_id": ids[pairs.anchor.numpy()],
                "negative_id": ids[pairs.negative.numpy()],
                "rank": pairs.rank.numpy(),
                "similarity": pairs.similarity.numpy(),
                "differs": [
                    [name for name, differs in zip(names, row, strict=True) if differs]
                    for row in pairs.differs.tolist()
                ],
            }
        )
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(self.folder / "hard_negatives.parquet", index=False)
            (self.folder / "hard_negatives.json").write_text(json.dumps(pairs.counts, indent=1))
        log.info("hard negatives: %s", ", ".join(f"{n} {what}" for what, n in pairs.counts.items()))
        return pairs

    def compose(self, batches: RowBatches, *, seed: int) -> RowBatches:
        """Batches of anchors and their hard negatives."""
        return MinedBatches(batches, self._partners, ramp=self.ramp, random=self.random, seed=seed)

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """The relations as they are: what is hard is in the batch."""
        return relations


def partner_table(
    anchor: NDArray[np.int64], other: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Pairs in the order of their anchors as (count, K) rows, -1 where there are fewer than K."""
    place = np.arange(len(anchor)) - np.searchsorted(anchor, anchor, side="left")
    table = np.full((count, int(place.max(initial=-1)) + 1), -1, dtype=np.int64)
    table[anchor, place] = other
    return table
