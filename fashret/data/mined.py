"""Batches of anchors and the hard negatives that were mined for them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fashret.data.samplers import RowBatches, Rows


class MinedBatches(RowBatches):
    """Another sampler's batches, of which a part gives way to partners of the rest.

    The part grows from nothing in the first epoch to `1 - random` after `ramp` epochs. What is
    chosen follows from the seed, the epoch and the batch.

    Args:
        batches: the anchors.
        partners: (N, K) rows of the hard negatives of each row of the table, -1 for none.
        ramp: epochs until the part is whole; 0 begins with it.
        random: the share of a batch that is always as the other sampler drew it, 0 to 1.
        seed: of the choice.
    """

    def __init__(
        self,
        batches: RowBatches,
        partners: NDArray[np.int64],
        *,
        ramp: int,
        random: float,
        seed: int,
    ) -> None:
        self.batches = batches
        self.partners = partners
        self.ramp = ramp
        self.random = random
        self.seed = seed

    def __len__(self) -> int:
        return len(self.batches)

    def epoch_batches(self) -> Iterator[Rows]:
        """The other sampler's, mined."""
        return map(self._mined, self.batches)

    @property
    def sampler(self) -> "MinedBatches":
        """Where Lightning looks for `set_epoch` when batches are drawn as a whole."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.batches.set_epoch(epoch)

    def share(self, epoch: int) -> float:
        """The part of a batch that is mined in an epoch."""
        grown = 1.0 if self.ramp == 0 else min(1.0, epoch / self.ramp)
        return (1.0 - self.random) * grown

    def _mined(self, batch: Rows) -> Rows:
        # Anchors enough that their partners can fill the rest.
        anchors_needed = -(-len(batch.rows) // (1 + self.partners.shape[1]))
        wanted = int(self.share(batch.epoch) * len(batch.rows))
        wanted = min(wanted, len(batch.rows) - anchors_needed)
        anchors = batch.rows[: len(batch.rows) - wanted]
        rng = np.random.default_rng([self.seed, 2, batch.epoch, int(batch.rows[0])])
        candidates = self.partners[anchors].reshape(-1)
        candidates = rng.permutation(np.setdiff1d(candidates[candidates >= 0], anchors))
        mined = candidates[:wanted]
        rest = np.setdiff1d(batch.rows[len(anchors) :], mined, assume_unique=True)
        return Rows(np.concatenate([anchors, mined, rest[: wanted - len(mined)]]), batch.epoch)
