"""Sampling of batches of judged queries, each with one of its relevant items."""

from collections.abc import Iterator
from copy import copy

import numpy as np
from numpy.typing import NDArray

from fashret.loading.mined_sampler import replaced_share
from fashret.loading.samplers import BatchRows, ShuffledSampler
from fashret.types import JudgedQueries

Rows = NDArray[np.int64]


class QuerySampler(ShuffledSampler):
    """Draws pairs of a query and a relevant item, each pair once in an epoch.

    The rows of a batch are the relevant items, then the reference photos of composed queries or
    the hard negatives of typed ones.

    Args:
        queries: the judged queries.
        batch_size: photos in a batch and process.
        seed: seed of the order.
        reshuffle: False repeats the first epoch's order in every epoch.
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    def __init__(
        self,
        queries: JudgedQueries,
        *,
        batch_size: int,
        seed: int,
        reshuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        relevant = (queries.grade > 0).numpy()
        self.query: Rows = queries.query.numpy()[relevant]
        self.row: Rows = queries.row.numpy()[relevant]
        self.reference = None if queries.reference is None else queries.reference.numpy()
        photos = 1 if self.reference is None else 2
        super().__init__(
            np.arange(len(self.query)),
            batch_size=max(1, batch_size // photos),
            seed=seed,
            reshuffle=reshuffle,
            rank=rank,
            world_size=world_size,
        )
        self._hard: Rows = np.empty((0, 0), dtype=np.int64)
        self._ramp, self._random = 0, 1.0

    def with_hard_items(self, hard: Rows, *, ramp: int, random: float) -> "QuerySampler":
        """Copy the sampler, so that some rows of a batch are hard negatives of its queries.

        Args:
            hard: (Q, K) long rows of the hard negatives of each query, -1 for none.
            ramp: epochs until the share of hard negatives has its full size.
            random: share of a batch that stays pairs, 0 to 1; at least half of it does.
        """
        other = copy(self)
        other._hard, other._ramp, other._random = hard, ramp, random
        return other

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield this process's batches in the epoch's order.

        A step of several processes has the pairs and the hard negatives of a larger batch of one
        process, and each process its part of them.
        """
        step = copy(self)
        step.batch_size, step.rank, step.world_size = self.batch_size * self.world_size, 0, 1
        for number, batch in enumerate(super(QuerySampler, step).epoch_batches()):
            pairs, hard = self._with_hard(batch, number)
            pairs, hard = (
                np.array_split(part, self.world_size)[self.rank] for part in (pairs, hard)
            )
            queries = self.query[pairs]
            others = hard if self.reference is None else self.reference[queries]
            yield BatchRows(np.concatenate([self.row[pairs], others]), batch.epoch, queries=queries)

    def _with_hard(self, batch: BatchRows, number: int) -> tuple[Rows, Rows]:
        """The pairs of a step that stay, and the hard negatives that replace the others."""
        if not self._hard.size:
            return batch.rows, np.empty(0, dtype=np.int64)
        size = len(batch.rows)
        share = replaced_share(batch.epoch, ramp=self._ramp, random=self._random)
        # Every pair is in a batch at least once in DUE_EVERY epochs.
        due = np.zeros(size, dtype=bool) if batch.due is None else batch.due
        count = min(int(share * size), size // 2, size - int(due.sum()))
        count -= count % self.world_size  # so that all processes have batches of one size
        order = np.argsort(~due, kind="stable")
        pairs = batch.rows[order[: size - count]]
        rng = np.random.default_rng([self.seed, 6, batch.epoch, number])
        wanted = np.unique(self._hard[self.query[pairs]])
        wanted = rng.permutation(np.setdiff1d(wanted[wanted >= 0], self.row[pairs]))[:count]
        if len(wanted) < count:
            others = np.setdiff1d(self.row, np.concatenate([wanted, self.row[pairs]]))
            wanted = np.concatenate([wanted, rng.permutation(others)[: count - len(wanted)]])
        chosen: Rows = np.resize(wanted, count) if len(wanted) else self.row[pairs[:count]]
        return pairs, chosen
