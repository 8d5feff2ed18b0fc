"""Batches of anchors and the hard negatives that were mined for them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fashret.loading.samplers import RowBatches, Rows, ShareLimit
from fashret.types import UNKNOWN


class MinedBatches(RowBatches):
    """Another sampler's batches, with some rows replaced by partners of the others.

    The rows that stay are the anchors: those that are due, then others at random. The replaced
    share grows from 0 in the first epoch to `1 - random` after `ramp` epochs. A partner comes in
    only if the batch then still respects the other sampler's `limit`. What is chosen follows from
    the seed, the epoch and the batch.

    Args:
        batches: the batches before mining.
        partners: (N, K) rows of the hard negatives of each row of the table, -1 for none.
        ramp: epochs until the replaced share has its full size; 0 begins with it.
        random: the share of a batch that always stays as the other sampler drew it, 0 to 1.
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
        """The other sampler's batches, mined."""
        return map(self._mined, self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.batches.set_epoch(epoch)

    def share(self, epoch: int) -> float:
        """The share of a batch that is replaced in an epoch, 0 to 1."""
        grown = 1.0 if self.ramp == 0 else min(1.0, epoch / self.ramp)
        return (1.0 - self.random) * grown

    def _mined(self, batch: Rows) -> Rows:
        """The batch with partners of its anchors in the place of the other rows."""
        rng = np.random.default_rng([self.seed, 2, batch.epoch, int(batch.rows.min())])
        size = len(batch.rows)
        due = np.zeros(size, dtype=bool) if batch.due is None else batch.due
        # Whatever order the other sampler has a reason for, the anchors are a fair sample of it.
        order = rng.permutation(size)
        order = order[np.argsort(~due[order], kind="stable")]
        rows = batch.rows[order]
        # Anchors enough that their partners can fill the rest.
        anchors_needed = max(-(-size // (1 + self.partners.shape[1])), int(due.sum()))
        wanted = min(int(self.share(batch.epoch) * size), size - anchors_needed)
        anchors, others = rows[: size - wanted], rows[size - wanted :]
        partners = self.partners[anchors].reshape(-1)
        partners = rng.permutation(np.setdiff1d(partners[partners >= 0], anchors))
        limit = self.batches.limit
        if limit is None:
            mined = partners[:wanted]
            kept = np.setdiff1d(others, mined, assume_unique=True)[: wanted - len(mined)]
            others = np.concatenate([mined, kept])
        else:
            others = _exchanged(anchors, others, partners, limit)
        return Rows(np.concatenate([anchors, others]), batch.epoch, due[order])


def _exchanged(
    anchors: NDArray[np.int64],
    others: NDArray[np.int64],
    partners: NDArray[np.int64],
    limit: ShareLimit,
) -> NDArray[np.int64]:
    """Exchange rows of a batch for partners, one for one, as long as the limit allows it.

    A partner whose value is at its limit can only take the place of a row with that value.

    Args:
        anchors: (a,) rows that stay.
        others: (b,) rows that partners may replace.
        partners: rows in the order in which they are tried; none is an anchor.
        limit: the largest number of rows of one value that the batch may have.

    Returns:
        (b,) rows.
    """
    others = others.copy()
    codes = limit.codes[others]
    counts = [
        np.bincount(column[column != UNKNOWN], minlength=int(highest) + 1)
        for column, highest in zip(
            np.concatenate([limit.codes[anchors], codes]).T, limit.codes.max(axis=0), strict=True
        )
    ]
    replaceable = ~np.isin(others, partners)  # a partner that is here already stays
    for partner in partners[~np.isin(partners, others)]:
        if not replaceable.any():
            break
        incoming = limit.codes[partner]
        at_limit = [
            code != UNKNOWN and count[code] >= limit.most
            for code, count in zip(incoming, counts, strict=True)
        ]
        same = (codes == incoming) | ~np.array(at_limit)
        possible = np.flatnonzero(replaceable & same.all(axis=1))
        if not len(possible):
            continue
        chosen = possible[0]
        for count, old, new in zip(counts, codes[chosen], incoming, strict=True):
            if old != UNKNOWN:
                count[old] -= 1
            if new != UNKNOWN:
                count[new] += 1
        others[chosen], codes[chosen], replaceable[chosen] = partner, incoming, False
    return others
