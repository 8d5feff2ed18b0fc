"""Balanced sampling: rare values are drawn more often, and no value fills too much of a batch."""

import logging
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fashret.data.balance import Balance, Labels
from fashret.loading.samplers import DUE_EVERY, BatchRows, ShareLimit, TrainingSampler, due_in_epoch
from fashret.types import UNKNOWN

log = logging.getLogger(__name__)


class BalancedSampler(TrainingSampler):
    """Draws items by weight, in as many batches per epoch as without weights.

    The expected number of times that an item is drawn is proportional to its weight, and every
    item is due once in `DUE_EVERY` epochs whatever its weight. A batch takes its due items first,
    then items in random order; an item that would bring a value above its limit, or that is in the
    batch already, waits for the next batch. All batches depend on the seed and the epoch alone, for
    any number of processes.

    Args:
        rows: (n,) long rows of the item table.
        balance: weights of the items and the largest share of one value.
        labels: codes and values of the category and of each attribute, for the whole table.
        batch_size: rows per batch and process; fewer if there are not enough rows for all.
        seed: seed of the sampling.
        rank: number of this process, from 0.
        world_size: number of processes.

    Attributes:
        expected: (n,) float64 expected number of draws of each row in an epoch.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        balance: Balance,
        labels: Labels,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(rows, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        weights = balance.weights(labels)[rows]
        self.expected = weights / weights.sum() * len(rows)
        limited = [labels[name][0] for name in balance.boosts]
        codes = (
            np.stack(limited, axis=1)
            if limited
            else np.empty((rows.max(initial=0) + 1, 0), dtype=np.int64)
        )
        self.limit = ShareLimit(codes, max(1, int(balance.most * self.batch_size)))
        self._warned = False

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield the batches of this process in the epoch."""
        for number, (chosen, due) in enumerate(self._batches()):
            if number % self.world_size == self.rank:
                yield BatchRows(self.rows[chosen], self.epoch, due)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield the batches of all processes as positions in `rows`, with their due masks."""
        assert self.limit is not None
        rng = np.random.default_rng([self.seed, 1, self.epoch])
        codes, max_rows = self.limit.codes[self.rows].tolist(), self.limit.max_rows
        count = len(self) * self.world_size
        due_now = np.flatnonzero(due_in_epoch(len(self.rows), self.epoch, self.seed))
        due_parts = np.array_split(rng.permutation(due_now), max(1, count))
        stream = self._stream(rng)
        waiting: deque[int] = deque()
        due: deque[int] = deque()
        for part in due_parts[:count]:
            batch = _PartialBatch(codes, max_rows)
            due.extend(part.tolist())
            for _ in range(len(due)):
                item = due.popleft()
                if len(batch.items) == self.batch_size or not batch.add(item):
                    due.append(item)
            num_due = len(batch.items)
            rejected: deque[int] = deque()
            while len(batch.items) < self.batch_size:
                if len(rejected) > 50 * self.batch_size:  # hardly any other item is left
                    self._warn_once()
                    batch.add(rejected.popleft(), within_limit=False)
                    continue
                item = waiting.popleft() if waiting else next(stream)
                if not batch.add(item):
                    rejected.append(item)
            # Items of a value that is always too frequent would wait for ever: drop some of them.
            waiting = deque(islice(rejected, 2 * self.batch_size))
            yield np.array(batch.items), np.arange(self.batch_size) < num_due

    def _stream(self, rng: np.random.Generator) -> Iterator[int]:
        """Yield positions in random order without end, each as often as its weight says.

        Draws of due items count, so that these are drawn that much less often here.
        """
        expected = (self.expected - 1.0 / DUE_EVERY).clip(min=1e-3)
        while True:
            times = np.floor(expected + rng.random(len(expected))).astype(int)
            yield from rng.permutation(np.repeat(np.arange(len(expected)), times)).tolist()

    def _warn_once(self) -> None:
        """Warn that the data cannot keep the limit."""
        if not self._warned and self.limit is not None:
            log.warning(
                "data.balance.most: too few items have other values to keep every value at %d of "
                "%d rows of a batch; some batches exceed it. Raise data.balance.most",
                self.limit.max_rows,
                self.batch_size,
            )
        self._warned = True


class _PartialBatch:
    """A batch that is being filled within a limit.

    Args:
        codes: codes of the limited attributes of every item.
        max_rows: largest number of items with one value.

    Attributes:
        items: positions of the items that were added so far.
    """

    def __init__(self, codes: list[list[int]], max_rows: int) -> None:
        self.items: list[int] = []
        self._codes = codes
        self._max_rows = max_rows
        self._inside: set[int] = set()
        self._counts: Counter[tuple[int, int]] = Counter()

    def add(self, item: int, *, within_limit: bool = True) -> bool:
        """Add an item unless it is in the batch already or its values are at the limit.

        Returns:
            Whether it was added.
        """
        values = [(a, code) for a, code in enumerate(self._codes[item]) if code != UNKNOWN]
        full = any(self._counts[value] >= self._max_rows for value in values)
        if item in self._inside or (full and within_limit):
            return False
        self.items.append(item)
        self._inside.add(item)
        self._counts.update(values)
        return True
