"""Mining of training pairs of every tier, from the same product to another category."""

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
    """Adds partners of every tier to batches: similar items, and hard and easy negatives.

    Besides the hard negatives of `miner=hard` an anchor's partners are items of its product or
    with the same attributes (strong), of its category with the same medium attribute, such as
    material (medium), of its category with the same weak attribute, such as pattern (weak), and of
    other categories (easy). `data.tiers` lists the medium and weak attributes.

    Args:
        folder: folder for `pairs.parquet` and its counts, and for the hard negatives; null writes
            none of them.
        count: number of pairs to draw, at least 1.
        shares: share of each tier in `count`, by tier; they add up to 1.
        seed: seed of the sampling.
        depth: number of nearest items of its category that are looked at for each item's hard
            negatives, at least 1.
        keep: largest number of hard negatives per item, at least 1.
        attributes: names of the attributes that count as a difference; null for all.
        ramp: epochs until the share of partners in a batch has its full size, at least 0.
        random: share of a batch that stays random, 0 to 1.
        skip: for judged queries, nearest items that are left out, see `HardMiner`.
        margin: for judged queries, see `HardMiner`.
        exact_up_to: the largest category of which every two items are compared, see `HardMiner`.
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
        skip: int = 10,
        margin: float = 0.0,
        exact_up_to: int | None = 200_000,
    ) -> None:
        super().__init__(
            folder=folder,
            depth=depth,
            keep=keep,
            attributes=attributes,
            ramp=ramp,
            random=random,
            skip=skip,
            margin=margin,
            exact_up_to=exact_up_to,
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
            ConfigError: the data does not have one of the attributes.
        """
        self.prepare_queries(items, baseline)
        if not items.mines_items:
            return
        mined = self.mine(items, baseline)
        codes = TierCodes.from_items(items)[items.rows]
        differing = TierCodes.from_items(items, self.attributes)[items.rows]
        rng = np.random.default_rng(self.seed)
        pairs = draw_pairs(
            codes, mined, self.shares, count=self.count, rng=rng, differing=differing
        )
        if len(pairs.anchor) < len(items.rows):
            log.warning(
                "pairs: only %d for %d training items; miner.count=%d is too small to fill batches",
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
            in_tier = pairs.tier == code
            requested, drawn = round(self.shares.get(name, 0.0) * self.count), int(in_tier.sum())
            if drawn < requested:
                log.warning("pairs: found %d of %d %s pairs", drawn, requested, name)
            stats[name] = {
                "asked": requested,
                "made": drawn,
                "anchors": len(np.unique(anchor[in_tier])),
                "mean_similarity": float(similarity[in_tier].mean()) if in_tier.any() else None,
            }
        if self.folder is not None:
            frame.to_parquet(self.folder / "pairs.parquet", index=False)
            (self.folder / "pairs_stats.json").write_text(json.dumps(stats, indent=1) + "\n")


def _chunks(rows: "np.typing.NDArray[np.int64]") -> list["np.typing.NDArray[np.int64]"]:
    """Split an array, so that the embeddings of one part at a time are in memory."""
    return np.array_split(rows, 1 + len(rows) // 65536)
