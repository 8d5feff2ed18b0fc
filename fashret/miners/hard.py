"""Mining of hard negatives from the untrained model's embeddings, before training."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import ConfigError
from fashret.functional.judged import JudgedPairs
from fashret.functional.mining import HardPairs, hard_negatives, query_hard_negatives
from fashret.launch_env import is_first
from fashret.loading.mined_sampler import MinedSampler
from fashret.loading.product_sampler import HardProducts, ProductSampler
from fashret.loading.query_sampler import QuerySampler
from fashret.loading.samplers import RowBatchSampler
from fashret.names import listed
from fashret.types import Baseline, JudgedQueries, Relations, TrainingItems

log = logging.getLogger(__name__)


class HardMiner:
    """Adds hard negatives to batches: nearest items of the category that differ in an attribute.

    These are items that the untrained model confuses. The share of mined items in a batch grows
    over the first epochs. For tasks of products (task=product, task=street) they are the nearest
    photos of other products, whatever their attributes, and whole products are added with all
    photos that a batch has of each. For task=search_log they are the items that a query retrieves
    and that were not judged relevant for it, within a window of ranks.

    Args:
        folder: folder for `hard_negatives.parquet` and its counts; null writes neither.
        depth: number of nearest items of its category that are looked at for each item, at least 1.
        keep: largest number of hard negatives per item, at least 1.
        attributes: names of the attributes that count as a difference; null for all.
        ramp: epochs until the share of mined items has its full size, at least 0.
        random: share of a batch that stays random, 0 to 1.
        skip: for judged queries, nearest items that are left out, since they may be relevant.
        margin: for judged queries, how much less similar a negative is than the query's relevant
            items are on average, -2 to 2.
        exact_up_to: the largest category of which every two items are compared; in a larger one the
            nearest are looked for in blocks, and the share of them that is found is written. null
            for any.
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
        skip: int = 10,
        margin: float = 0.0,
        exact_up_to: int | None = 200_000,
    ) -> None:
        if not 0.0 <= random <= 1.0 or ramp < 0 or depth < 1 or keep < 1 or skip < 0:
            raise ConfigError(
                f"miner: random={random} must be within 0 and 1, ramp={ramp} and skip={skip} at "
                f"least 0, depth={depth} and keep={keep} at least 1"
            )
        if exact_up_to is not None and exact_up_to < 1:
            raise ConfigError(f"miner.exact_up_to={exact_up_to}: it must be at least 1, or null")
        # Every process mines the same items; the first one writes them.
        self.folder = None if folder is None or not is_first() else Path(folder)
        self.depth = depth
        self.keep = keep
        self.attributes = attributes
        self.ramp = ramp
        self.random = random
        self.skip = skip
        self.margin = margin
        self.exact_up_to = exact_up_to
        self._partners = np.zeros((0, 0), dtype=np.int64)
        self._of_queries = np.zeros((0, 0), dtype=np.int64)

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine the training items' hard negatives and write them.

        Raises:
            ConfigError: the data does not have one of the attributes.
        """
        self.prepare_queries(items, baseline)
        if items.mines_items:
            pairs = self.mine(items, baseline)
            anchor, negative = items.rows[pairs.anchor].numpy(), items.rows[pairs.negative].numpy()
            self._partners = partner_table(anchor, negative, len(items.ids))

    def prepare_queries(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine the hard negatives of typed queries, if a task trains on them."""
        if (queries := items.queries.get("search_log")) is not None:
            pairs = self.mine_queries(queries, items, baseline)
            anchor, negative = pairs.anchor.numpy(), items.rows[pairs.negative].numpy()
            self._of_queries = partner_table(anchor, negative, len(queries))

    def mine_queries(
        self, queries: JudgedQueries, items: TrainingItems, baseline: Baseline
    ) -> HardPairs:
        """Find the hard negatives of judged queries and write `hard_negatives_of_queries.parquet`.

        Returns:
            The pairs; anchors are queries, negatives positions in `items.rows`.
        """
        assert queries.embedding is not None
        pairs = query_hard_negatives(
            queries.embedding,
            baseline.image[items.rows].float(),
            JudgedPairs(queries),
            items.rows,
            skip=self.skip,
            depth=self.depth,
            keep=self.keep,
            margin=self.margin,
        )
        ids = np.array(items.ids, dtype=object)[items.rows.numpy()]
        frame = pd.DataFrame(
            {
                "query": np.array(queries.texts, dtype=object)[pairs.anchor.numpy()],
                "negative_id": ids[pairs.negative.numpy()],
                "rank": pairs.rank.numpy(),
                "similarity": pairs.similarity.numpy(),
            }
        )
        self._write_mined(frame, pairs, "hard_negatives_of_queries")
        return pairs

    def mine(self, items: TrainingItems, baseline: Baseline) -> HardPairs:
        """Find the hard negatives and write them.

        Returns:
            The pairs; their rows are positions in `items.rows`.

        Raises:
            ConfigError: the data does not have one of the attributes.
        """
        existing = [name for name in items.labels if name != "category"]
        if items.by_product and self.attributes is None:
            return self._mined(items, baseline, {"product": items.product}, items.product * 0)
        names = existing if self.attributes is None else self.attributes
        for name in names:
            if name not in existing:
                raise ConfigError(
                    f"miner.attributes names {name}; the data has {listed(name, existing)}"
                )
        differing = {name: items.labels[name][0] for name in names}
        return self._mined(items, baseline, differing, items.labels["category"][0])

    def _mined(
        self,
        items: TrainingItems,
        baseline: Baseline,
        differing: Mapping[str, Tensor],
        category: Tensor,
    ) -> HardPairs:
        """Mine and write the pairs that differ in one of some codes.

        Args:
            items: the training items.
            baseline: the untrained model's embeddings of the items.
            differing: (N,) long codes, one of which is known for both items and differs, by name.
            category: (N,) long codes; negatives have the code of their anchor.
        """
        rows, names = items.rows, list(differing)
        values = [codes[rows] for codes in differing.values()]
        pairs = hard_negatives(
            baseline.image[rows].float(),
            category[rows],
            items.product[rows],
            items.caption[rows],
            torch.stack(values, dim=1) if values else torch.zeros(len(rows), 0, dtype=torch.long),
            depth=self.depth,
            keep=self.keep,
            exact_up_to=self.exact_up_to,
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
        self._write_mined(frame, pairs, "hard_negatives")
        return pairs

    def _write_mined(self, frame: pd.DataFrame, pairs: HardPairs, name: str) -> None:
        """Write mined pairs and their counts, and log the counts."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(self.folder / f"{name}.parquet", index=False)
            written = pairs.counts | ({"recall": pairs.recall} if pairs.recall < 1.0 else {})
            (self.folder / f"{name}.json").write_text(json.dumps(written, indent=1))
        counts = ", ".join(f"{n} {what}" for what, n in pairs.counts.items())
        log.info("%s: %s", name.replace("_", " "), counts)
        if pairs.recall < 1.0:
            log.info(
                "large categories were searched in blocks, which hold %.0f %% of the nearest "
                "(miner.exact_up_to)",
                100.0 * pairs.recall,
            )

    def compose(self, batches: RowBatchSampler, *, seed: int) -> RowBatchSampler:
        """Wrap a sampler, so that its batches are anchors and their hard negatives."""
        if isinstance(batches, ProductSampler):
            hard = HardProducts(self._partners, self.ramp, self.random)
            return batches.with_hard_products(hard)
        if isinstance(batches, QuerySampler):
            if batches.reference is not None:  # composed: the reference is a hard negative
                return batches
            return batches.with_hard_items(self._of_queries, ramp=self.ramp, random=self.random)
        return MinedSampler(batches, self._partners, ramp=self.ramp, random=self.random, seed=seed)

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Return the relations unchanged: the hard negatives are in the batch already."""
        return relations


def partner_table(
    anchor: NDArray[np.int64], other: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Arrange pairs as a table of each row's partners.

    Args:
        anchor: (P,) long rows of the anchors, ascending.
        other: (P,) long rows of their partners.
        count: number N of rows.

    Returns:
        (N, K) long rows of partners, -1 where a row has fewer than K.
    """
    column = np.arange(len(anchor)) - np.searchsorted(anchor, anchor, side="left")
    table = np.full((count, int(column.max(initial=-1)) + 1), -1, dtype=np.int64)
    table[anchor, column] = other
    return table
