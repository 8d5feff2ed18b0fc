"""Pairs of every tier, from the same product to something else."""

import json
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from fashret.errors import ConfigError
from fashret.functional.pairing import Pairs, draw_pairs
from fashret.functional.tiers import TIERS, TierCodes
from fashret.miners.hard import HardMiner, partner_table
from fashret.types import Baseline, TrainingItems

log = logging.getLogger(__name__)


class PairMiner(HardMiner):
    """Puts items into a batch beside partners that are alike, or only look so.

    Besides the hard negatives of `miner=hard` an anchor's partners are items of its product or
    with the same attributes (strong), of its category and material (medium), of its category and
    a design attribute (weak), and of other categories (easy). Which attributes those are stands
    under `data.tiers`.

    Args:
        folder: where `pairs.parquet` and its counts are written, beside the hard negatives.
        count: pairs that are drawn.
        shares: of each tier among them.
        seed: of the draw.
        depth: how many nearest of its category an item looks at for hard negatives.
        keep: how many of those it keeps at most.
        attributes: which attributes count as a difference; null for all.
        ramp: epochs until as much of a batch are partners as will be.
        random: the share of a batch that stays random, 0 to 1.
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        count: int,
        shares: Mapping[str, float],
        seed: int,
        depth: int = 50,
        keep: int = 10,
        attributes: Sequence[str] | None = None,
        ramp: int = 5,
        random: float = 0.3,
    ) -> None:
        super().__init__(
            folder=folder, depth=depth, keep=keep, attributes=attributes, ramp=ramp, random=random
        )
        if set(shares) - set(TIERS) or abs(sum(shares.values()) - 1.0) > 1e-6 or count < 1:
            raise ConfigError(
                f"miner: shares={dict(shares)} must be of {', '.join(TIERS)} and add up to 1, "
                f"count={count} must be at least 1"
            )
        self.count = count
        self.shares = dict(shares)
        self.seed = seed

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine and draw the pairs of the training items, and write them.

        Raises:
            ConfigError: an attribute is none of the data's.
        """
        mined = self.mine(items, baseline)
        codes = TierCodes.from_items(items)[items.rows]
        differing = TierCodes.from_items(items, self.attributes)[items.rows]
        rng = np.random.default_rng(self.seed)
        pairs = draw_pairs(
            codes, mined, self.shares, count=self.count, rng=rng, differing=differing
        )
        if len(pairs.anchor) < len(items.rows):
            log.warning(
                "pairs: %d of %d training items; miner.count=%d asks for too few to fill batches",
                len(pairs.anchor),
                len(items.rows),
                self.count,
            )
        self._write(items, baseline, pairs)
        rows = items.rows.numpy()
        order = np.argsort(pairs.anchor, kind="stable")
        self._partners = partner_table(
            rows[pairs.anchor[order]], rows[pairs.other[order]], len(items.ids)
        )

    def _write(self, items: TrainingItems, baseline: Baseline, pairs: Pairs) -> None:
        """Write pairs.parquet and pairs_stats.json."""
        rows = items.rows.numpy()
        anchor, other = rows[pairs.anchor], rows[pairs.other]
        image = baseline.image
        similarity = torch.cat(
            [
                (image[torch.from_numpy(a)].float() * image[torch.from_numpy(b)].float()).sum(dim=1)
                for a, b in zip(_chunks(anchor), _chunks(other), strict=True)
            ]
        ).numpy()
        ids = np.array(items.ids, dtype=object)
        tier = np.array(TIERS, dtype=object)[pairs.tier]
        frame = pd.DataFrame(
            {
                "anchor_id": ids[anchor],
                "other_id": ids[other],
                "tier": tier,
                "similarity": similarity,
                "rank": pairs.rank,
            }
        )
        stats = {}
        for code, name in enumerate(TIERS):
            of_tier = pairs.tier == code
            asked, made = round(self.shares.get(name, 0.0) * self.count), int(of_tier.sum())
            if made < asked:
                log.warning("pairs: %d of %d %s pairs were found", made, asked, name)
            stats[name] = {
                "asked": asked,
                "made": made,
                "anchors": len(np.unique(anchor[of_tier])),
                "mean_similarity": float(similarity[of_tier].mean()) if of_tier.any() else None,
            }
        if self.folder is not None:
            frame.to_parquet(self.folder / "pairs.parquet", index=False)
            (self.folder / "pairs_stats.json").write_text(json.dumps(stats, indent=1) + "\n")


def _chunks(rows: "np.typing.NDArray[np.int64]") -> list["np.typing.NDArray[np.int64]"]:
    """An array in parts, so that embeddings are not held for all of it; at least one."""
    return np.array_split(rows, 1 + len(rows) // 65536)
