"""Samplers of batches: seeded, the same for any number of workers, distributed over processes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

EVALUATION_BATCH = 256
"""Rows that are encoded together. The size is fixed, and batches are cut from the start of a split,
so that training, building a catalog and evaluating compute the same numbers of the same photos."""


DUE_EVERY = 12
"""Epochs within which a sampler offers every training item at least once, marked as due."""


class BatchRows(NamedTuple):
    """The rows of the item table that make one batch.

    Attributes:
        rows: (B,) long rows of the item table.
        epoch: number of the epoch that the batch is part of, from 0; seeds augmentation.
        due: (B,) bool: rows that a miner must not replace, so that every item is seen at least
            once in `DUE_EVERY` epochs; None for none.
        queries: (Q,) long judged queries, whose answers are the first Q rows; None for a task
            whose queries are items.
    """

    rows: NDArray[np.int64]
    epoch: int
    due: NDArray[np.bool_] | None = None
    queries: NDArray[np.int64] | None = None


class ShareLimit(NamedTuple):
    """The largest number of rows in a batch that may have the same value of an attribute.

    Attributes:
        codes: (N, A) long codes of the limited attributes for every row of the table, `UNKNOWN`
            where a value is not known; an unknown value is not limited.
        max_rows: largest number of rows of a batch with one value.
    """

    codes: NDArray[np.int64]
    max_rows: int


class RowBatchSampler(Sampler[BatchRows], ABC):
    """Base of samplers that yield the rows of one batch after another.

    The length is the number of batches that this process has in an epoch.

    Attributes:
        num_done: batches of the next epoch that were trained before a run was interrupted; they
            are skipped once.
        epoch: number of the epoch that is drawn next, from 0.
        limit: limit that every batch respects, also after mining; None for no limit.
    """

    num_done = 0
    epoch = 0
    limit: ShareLimit | None = None

    def __iter__(self) -> Iterator[BatchRows]:
        # Read lazily, at the first batch: Lightning creates iterators that it never consumes.
        num_done, self.num_done = self.num_done, 0
        yield from islice(self.epoch_batches(), num_done, None)

    @abstractmethod
    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield all batches of this process in the current epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches that this process has in an epoch."""

    @property
    def sampler(self) -> "RowBatchSampler":
        """The sampler itself, under the name at which Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next; Lightning calls this before each epoch."""
        self.epoch = epoch


class TrainingSampler(RowBatchSampler):
    """Base of samplers whose epochs have as many batches as the rows fill, of equal size.

    All processes get equally many batches.

    Args:
        rows: (n,) long rows of the item table.
        batch_size: rows per batch and process; fewer if there are not enough rows for all.
        seed: seed of the order.
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.batch_size = max(1, min(batch_size, len(rows) // world_size))
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world_size)


def due_in_epoch(count: int, epoch: int, seed: int) -> NDArray[np.bool_]:
    """Choose the rows that are due in an epoch.

    Every row is due exactly once in any `DUE_EVERY` consecutive epochs, in an order that depends
    on the seed alone.

    Args:
        count: number of rows.
        epoch: number of the epoch, from 0.
        seed: seed of the order.

    Returns:
        (count,) bool.
    """
    turn = np.random.default_rng([seed, 4]).permutation(count) % DUE_EVERY
    due: NDArray[np.bool_] = turn == epoch % DUE_EVERY
    return due


class ShuffledSampler(TrainingSampler):
    """Yields every row once per epoch, in an order drawn from the seed and the epoch.

    The rows left over at the end of an epoch are others each time, and never those that are due.

    Args:
        rows: (n,) long rows of the item table.
        batch_size: rows per batch and process; fewer if there are not enough rows for all.
        seed: seed of the order.
        reshuffle: False repeats the first epoch's order in every epoch (for overfitting a batch).
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        reshuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(rows, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        self.reshuffle = reshuffle

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield this process's batches in the epoch's order."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))
        due = due_in_epoch(len(self.rows), self.epoch, self.seed)
        used = len(self) * self.world_size * self.batch_size
        # A due row that would be left over is swapped with one that is not due.
        late = used + np.flatnonzero(due[order[used:]])
        early = np.flatnonzero(~due[order[:used]])[: len(late)]
        late = late[: len(early)]
        order[early], order[late] = order[late], order[early]
        for number in range(len(self)):
            start = (number * self.world_size + self.rank) * self.batch_size
            chosen = order[start : start + self.batch_size]
            yield BatchRows(self.rows[chosen], self.epoch, due[chosen])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next; Lightning calls this before each epoch."""
        self.epoch = epoch if self.reshuffle else 0


class EvaluationSampler(RowBatchSampler):
    """Yields rows in order, in batches of `EVALUATION_BATCH`; processes take batches in turn.

    Args:
        parts: rows of the item table by split, each (n,) long; no batch spans two splits.
        rank: number of this process, from 0.
        world_size: number of processes.
        even: pad every process to the same number of batches by repeating its last one, because
            FSDP's forward pass is collective.

    Attributes:
        batches: rows of each batch of this process.
        own_rows: (n,) long rows of all batches of this process, ascending.
    """

    def __init__(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        rank: int = 0,
        world_size: int = 1,
        even: bool = False,
    ) -> None:
        batches = [
            rows[start : start + EVALUATION_BATCH]
            for rows in parts
            for start in range(0, len(rows), EVALUATION_BATCH)
        ]
        # Lightning needs a batch on every rank: one that has none repeats the last.
        self.batches = batches[rank::world_size] or batches[-1:]
        if even and batches:
            self.batches += self.batches[-1:] * (-(-len(batches) // world_size) - len(self.batches))
        self.own_rows = np.sort(np.concatenate([*self.batches, np.empty(0, dtype=np.int64)]))

    def skip_first(self, num_batches: int) -> "EvaluationSampler":
        """Copy the sampler without the first batches, which are already encoded."""
        remaining = copy(self)
        remaining.batches = self.batches[num_batches:]
        return remaining

    def __len__(self) -> int:
        return len(self.batches)

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield this process's batches, the same in every epoch."""
        for batch in self.batches:
            yield BatchRows(batch, 0)
