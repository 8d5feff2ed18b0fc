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


class Rows(NamedTuple):
    """The rows of one batch, and the epoch in which they are seen."""

    rows: NDArray[np.int64]
    epoch: int


class RowBatches(Sampler[Rows], ABC):
    """Yields the rows of one batch after another; its length is how many batches.

    Attributes:
        done: batches of the next epoch that were seen before a run was interrupted: they are left
            out of it, once.
    """

    done = 0

    def __iter__(self) -> Iterator[Rows]:
        done, self.done = self.done, 0  # when the first is asked for: Lightning makes idle ones
        yield from islice(self.epoch_batches(), done, None)

    @abstractmethod
    def epoch_batches(self) -> Iterator[Rows]:
        """All batches of an epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """How many batches this process has in an epoch."""

    @abstractmethod
    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""


class ShuffledBatches(RowBatches):
    """Every row once an epoch, in an order drawn from the seed and the epoch.

    All ranks get equally many batches of equal size; the rows left over at the end of an epoch
    are others each time.

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
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world)

    def epoch_batches(self) -> Iterator[Rows]:
        """Rows in this epoch's order."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        for number in range(len(self)):
            start = (number * self.world + self.rank) * self.batch_size
            yield Rows(order[start : start + self.batch_size], self.epoch)

    @property
    def sampler(self) -> "ShuffledBatches":
        """Where Lightning looks for `set_epoch` when batches are drawn as a whole."""
        return self

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

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""
