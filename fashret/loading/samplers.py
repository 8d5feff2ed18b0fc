"""Which rows make which batch: seeded, the same for any number of workers, shared out by rank."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

EVALUATION_BATCH = 256
"""Rows that are encoded together. It is fixed, and batches are cut from the start of a split, so
that training, building a catalog and evaluating compute the same numbers of the same photos."""


DUE_EVERY = 12
"""Epochs within which a sampler offers every training item at least once, marked as due."""


class Rows(NamedTuple):
    """The rows of one batch.

    Attributes:
        rows: (B,) rows of the item table.
        epoch: in which they are seen.
        due: (B,) bool: rows that a miner must not replace, so that every item is seen now and
            then; None for none.
    """

    rows: NDArray[np.int64]
    epoch: int
    due: NDArray[np.bool_] | None = None


class ShareLimit(NamedTuple):
    """The largest number of rows of a batch that may have one value of an attribute.

    Attributes:
        codes: (N, A) long codes of the limited attributes for every row of the table, `UNKNOWN`
            where a value is not known; an unknown value is not limited.
        most: rows of a batch.
    """

    codes: NDArray[np.int64]
    most: int


class RowBatches(Sampler[Rows], ABC):
    """Yields the rows of one batch after another; its length is how many batches.

    Attributes:
        done: batches of the next epoch that were seen before a run was interrupted: they are left
            out of it, once.
        epoch: the epoch that is drawn next.
        limit: what every batch respects, also after mining; None for no limit.
    """

    done = 0
    epoch = 0
    limit: ShareLimit | None = None

    def __iter__(self) -> Iterator[Rows]:
        done, self.done = self.done, 0  # when the first is asked for: Lightning makes idle ones
        yield from islice(self.epoch_batches(), done, None)

    @abstractmethod
    def epoch_batches(self) -> Iterator[Rows]:
        """All batches of an epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """How many batches this process has in an epoch."""

    @property
    def sampler(self) -> "RowBatches":
        """Where Lightning looks for `set_epoch` when batches are drawn as a whole."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch


def due_in_epoch(count: int, epoch: int, seed: int) -> NDArray[np.bool_]:
    """Which of `count` rows are due in an epoch, (count,) bool.

    Every row is due exactly once in any `DUE_EVERY` epochs that follow one another, in an order
    that follows from the seed alone.
    """
    turn = np.random.default_rng([seed, 4]).permutation(count) % DUE_EVERY
    due: NDArray[np.bool_] = turn == epoch % DUE_EVERY
    return due


class ShuffledBatches(RowBatches):
    """Every row once an epoch, in an order drawn from the seed and the epoch.

    All ranks get equally many batches of equal size. The rows left over at the end of an epoch are
    others each time, and never those that are due.

    Args:
        rows: (n,) rows of the table.
        batch_size: rows in a batch of one process; all of them if there are fewer.
        seed: of the order.
        reshuffle: false gives every epoch the first one's order (for overfitting a batch).
        rank: of this process.
        world: how many processes there are.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        reshuffle: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = rows
        self.batch_size = max(1, min(batch_size, len(rows) // world))
        self.seed = seed
        self.reshuffle = reshuffle
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world)

    def epoch_batches(self) -> Iterator[Rows]:
        """Rows in this epoch's order."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))
        due = due_in_epoch(len(self.rows), self.epoch, self.seed)
        used = len(self) * self.world * self.batch_size
        # A due row that would be left over changes places with one that is not due.
        late = used + np.flatnonzero(due[order[used:]])
        early = np.flatnonzero(~due[order[:used]])[: len(late)]
        late = late[: len(early)]
        order[early], order[late] = order[late], order[early]
        for number in range(len(self)):
            start = (number * self.world + self.rank) * self.batch_size
            chosen = order[start : start + self.batch_size]
            yield Rows(self.rows[chosen], self.epoch, due[chosen])

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch if self.reshuffle else 0


class EvaluationBatches(RowBatches):
    """Rows in order, in batches of a fixed size; every `world`-th batch is this rank's.

    Args:
        parts: rows of the table, a split at a time: no batch reaches over the end of one.
        rank: of this process.
        world: how many processes there are.
        even: whether every rank has as many batches, the last one again and again where it must:
            towers that are shared out compute with all of them or not at all.

    Attributes:
        batches: the rows of each of this rank's batches.
        own: the rows of all of them, ascending.
    """

    def __init__(
        self,
        parts: Sequence[NDArray[np.int64]],
        *,
        rank: int = 0,
        world: int = 1,
        even: bool = False,
    ) -> None:
        batches = [
            rows[start : start + EVALUATION_BATCH]
            for rows in parts
            for start in range(0, len(rows), EVALUATION_BATCH)
        ]
        # Lightning wants a batch on every rank: one that has none repeats the last.
        self.batches = batches[rank::world] or batches[-1:]
        if even and batches:
            self.batches += self.batches[-1:] * (-(-len(batches) // world) - len(self.batches))
        self.own = np.sort(np.concatenate([*self.batches, np.empty(0, dtype=np.int64)]))

    def behind(self, done: int) -> "EvaluationBatches":
        """The same without the first ones, that were already dealt with."""
        left = copy(self)
        left.batches = self.batches[done:]
        return left

    def __len__(self) -> int:
        return len(self.batches)

    def epoch_batches(self) -> Iterator[Rows]:
        """The same rows in every epoch."""
        for batch in self.batches:
            yield Rows(batch, 0)
