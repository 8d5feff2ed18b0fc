"""Batches in which weak and rare values come more often, and no value too often."""

import logging
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fashret.data.balance import Balance, Described
from fashret.loading.samplers import DUE_EVERY, RowBatches, Rows, ShareLimit, due_in_epoch
from fashret.types import UNKNOWN

log = logging.getLogger(__name__)


class BalancedBatches(RowBatches):
    """As many batches an epoch as without balance, drawn by weight.

    The expected number of times that an item comes is proportional to its weight, and every item
    is due once in `DUE_EVERY` epochs whatever its weight. A batch takes its due items first, then
    items in random order; an item that would bring a value above its share, or that is in the
    batch already, waits for the next batch. Everything follows from the seed and the epoch, for
    any number of processes.

    Args:
        rows: (n,) rows of the table.
        balance: weights and the largest share.
        described: codes and values of the table.
        batch_size: rows in a batch of one process; all of them if there are fewer.
        seed: of the draw.
        rank: of this process.
        world: how many processes there are.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        balance: Balance,
        described: Described,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = rows
        weights = balance.weights(described)[rows]
        self.wanted = weights / weights.sum() * len(rows)
        limited = [described[name][0] for name in balance.boosts]
        codes = (
            np.stack(limited, axis=1)
            if limited
            else np.empty((rows.max(initial=0) + 1, 0), dtype=np.int64)
        )
        self.batch_size = max(1, min(batch_size, len(rows) // world))
        self.limit = ShareLimit(codes, max(1, int(balance.most * self.batch_size)))
        self.seed = seed
        self.rank = rank
        self.world = world
        self._warned = False

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world)

    def epoch_batches(self) -> Iterator[Rows]:
        """The batches of this process."""
        for number, (chosen, due) in enumerate(self._batches()):
            if number % self.world == self.rank:
                yield Rows(self.rows[chosen], self.epoch, due)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """The batches of all processes in order, as positions in `rows`, and which are due."""
        assert self.limit is not None
        rng = np.random.default_rng([self.seed, 1, self.epoch])
        codes, most = self.limit.codes[self.rows].tolist(), self.limit.most
        count = len(self) * self.world
        due_now = np.flatnonzero(due_in_epoch(len(self.rows), self.epoch, self.seed))
        due_parts = np.array_split(rng.permutation(due_now), max(1, count))
        stream = self._stream(rng)
        waiting: deque[int] = deque()
        due: deque[int] = deque()
        for part in due_parts[:count]:
            batch = _Filling(codes, most)
            due.extend(part.tolist())
            for _ in range(len(due)):
                item = due.popleft()
                if len(batch.items) == self.batch_size or not batch.add(item):
                    due.append(item)
            num_due = len(batch.items)
            rejected: deque[int] = deque()
            while len(batch.items) < self.batch_size:
                if len(rejected) > 50 * self.batch_size:  # hardly anything else is left
                    self._warn_once()
                    batch.add(rejected.popleft(), within_limit=False)
                    continue
                item = waiting.popleft() if waiting else next(stream)
                if not batch.add(item):
                    rejected.append(item)
            # A value that is always too frequent would wait for ever: it is seen less often.
            waiting = deque(islice(rejected, 2 * self.batch_size))
            yield np.array(batch.items), np.arange(self.batch_size) < num_due

    def _stream(self, rng: np.random.Generator) -> Iterator[int]:
        """Positions in random order, each as often as its weight says, without end.

        What comes because it is due counts: it is drawn that much less often here.
        """
        drawn = (self.wanted - 1.0 / DUE_EVERY).clip(min=1e-3)
        while True:
            times = np.floor(drawn + rng.random(len(drawn))).astype(int)
            yield from rng.permutation(np.repeat(np.arange(len(drawn)), times)).tolist()

    def _warn_once(self) -> None:
        """Say that the data cannot keep the limit."""
        if not self._warned and self.limit is not None:
            log.warning(
                "data.balance.most: too few items have other values to keep every value at %d of "
                "%d rows of a batch; some batches exceed it. Raise data.balance.most",
                self.limit.most,
                self.batch_size,
            )
        self._warned = True


class _Filling:
    """A batch that is being filled within a limit.

    Args:
        codes: the limited codes of every item.
        most: items of one value.

    Attributes:
        items: what was added so far.
    """

    def __init__(self, codes: list[list[int]], most: int) -> None:
        self.items: list[int] = []
        self._codes = codes
        self._most = most
        self._inside: set[int] = set()
        self._counts: Counter[tuple[int, int]] = Counter()

    def add(self, item: int, *, within_limit: bool = True) -> bool:
        """Add an item unless it is there already or its values are at the limit."""
        values = [(a, code) for a, code in enumerate(self._codes[item]) if code != UNKNOWN]
        full = any(self._counts[value] >= self._most for value in values)
        if item in self._inside or (full and within_limit):
            return False
        self.items.append(item)
        self._inside.add(item)
        self._counts.update(values)
        return True
