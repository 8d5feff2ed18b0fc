"""Batches in which weak and rare values come more often, and no value too often."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fashret.data.samplers import RowBatches, Rows
from fashret.errors import ConfigError
from fashret.types import UNKNOWN

Described = Mapping[str, tuple[NDArray[np.int64], list[str]]]
"""Codes (N,) and values of the category and of each attribute."""

KNOWN = "known"
"""Stands for every value but unknown."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How often items come, by their values.

    Args:
        boosts: factors by attribute and value (`category` may be an attribute, `known` stands for
            every known value); an item's are multiplied.
        most: the largest share of a batch that one known value of these attributes may have.
    """

    boosts: Mapping[str, Mapping[str, float]]
    most: float

    def __post_init__(self) -> None:
        factors = [factor for values in self.boosts.values() for factor in values.values()]
        if not 0.0 < self.most <= 1.0 or any(factor <= 0.0 for factor in factors):
            raise ConfigError(
                f"data.balance: most={self.most} must be above 0 and at most 1, and every boost "
                "above 0"
            )

    def weights(self, described: Described) -> NDArray[np.float64]:
        """The factor of each item of a table, (N,).

        Raises:
            ConfigError: an attribute or a value is none of the table's.
        """
        total = np.ones(len(next(iter(described.values()))[0]))
        for name, values in self.boosts.items():
            if name not in described:
                raise ConfigError(
                    f"data.balance.boosts names {name}; the data has {', '.join(described)}"
                )
            codes, known = described[name]
            for value, factor in values.items():
                if value == KNOWN:
                    total[codes != UNKNOWN] *= factor
                elif value in known:
                    total[codes == known.index(value)] *= factor
                else:
                    raise ConfigError(
                        f"data.balance.boosts.{name} names {value}; the data has {', '.join(known)}"
                    )
        return total


class BalancedBatches(RowBatches):
    """As many batches an epoch as without balance, drawn by weight.

    An item comes as often as its weight says, rounded up or down at random. A batch takes items in
    random order; one that would bring a value over its share, or is in the batch already, waits
    for the next. Everything follows from the seed and the epoch, for any number of processes.

    Args:
        rows: (n,) rows of the table.
        balance: weights and the largest share.
        described: of the table.
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
        self.weights = balance.weights(described)[rows]
        self.codes = np.stack([described[name][0][rows] for name in balance.boosts], axis=1)
        self.batch_size = max(1, min(batch_size, len(rows) // world))
        self.most = max(1, int(balance.most * self.batch_size))
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world)

    def epoch_batches(self) -> Iterator[Rows]:
        """Those of this process."""
        batches = self._batches(np.random.default_rng([self.seed, 1, self.epoch]))
        for number, places in enumerate(batches):
            if number % self.world == self.rank:
                yield Rows(self.rows[places], self.epoch)

    @property
    def sampler(self) -> "BalancedBatches":
        """Where Lightning looks for `set_epoch` when batches are drawn as a whole."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def _batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """The batches of all processes, in order."""
        codes = self.codes.tolist()
        stream = self._stream(rng)
        waiting: deque[int] = deque()
        for _ in range(len(self) * self.world):
            batch: list[int] = []
            inside: set[int] = set()
            counts: dict[tuple[int, int], int] = {}
            later: deque[int] = deque()
            while len(batch) < self.batch_size:
                # Where hardly anything else is left, the limits give way.
                forced = len(later) > 50 * self.batch_size
                place = (
                    later.popleft() if forced else waiting.popleft() if waiting else next(stream)
                )
                values = [(a, code) for a, code in enumerate(codes[place]) if code != UNKNOWN]
                full = place in inside or any(counts.get(v, 0) >= self.most for v in values)
                if full and not forced:
                    later.append(place)
                    continue
                batch.append(place)
                inside.add(place)
                for value in values:
                    counts[value] = counts.get(value, 0) + 1
            # A value that is always too frequent would wait for ever: it is seen less often.
            waiting = deque(islice(later, 2 * self.batch_size))
            yield np.array(batch)

    def _stream(self, rng: np.random.Generator) -> Iterator[int]:
        """Places in random order, each as often as its weight says, without end."""
        while True:
            wanted = self.weights / self.weights.sum() * len(self.rows)
            times = np.floor(wanted + rng.random(len(wanted))).astype(int)
            yield from rng.permutation(np.repeat(np.arange(len(wanted)), times)).tolist()
