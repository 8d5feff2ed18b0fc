"""Sampling of batches of anchors together with the hard negatives that were mined for them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fashret.loading.samplers import BatchRows, RowBatchSampler, ShareLimit
from fashret.types import UNKNOWN


class MinedSampler(RowBatchSampler):
    """Replaces some rows of another sampler's batches by mined partners of the other rows.

    The rows that stay are the anchors: those that are due, then others at random. The replaced
    share grows from 0 in the first epoch to `1 - random` after `ramp` epochs. A partner is added
    only if the batch then still respects the other sampler's `limit`. The choice depends on the
    seed, the epoch and the batch alone.

    Args:
        batches: the sampler of the batches before mining.
        partners: (N, K) long rows of the hard negatives of each row of the table, -1 for none.
        ramp: epochs until the replaced share has its full size; 0 starts with the full size.
        random: share of a batch that always stays as the other sampler drew it, 0 to 1.
        seed: seed of the choice.
    """

    def __init__(
        self,
        batches: RowBatchSampler,
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

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield the other sampler's batches with mined partners in them."""
        return map(self._with_partners, self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next; Lightning calls this before each epoch."""
        self.batches.set_epoch(epoch)

    def replaced_share(self, epoch: int) -> float:
        """Share of a batch that is replaced in an epoch, 0 to 1."""
        return replaced_share(epoch, ramp=self.ramp, random=self.random)

    def _with_partners(self, batch: BatchRows) -> BatchRows:
        """Replace rows of a batch by partners of its anchors."""
        rng = np.random.default_rng([self.seed, 2, batch.epoch, int(batch.rows.min())])
        size = len(batch.rows)
        due = np.zeros(size, dtype=bool) if batch.due is None else batch.due
        # The other sampler's order may have a meaning: the anchors are a random sample of it.
        order = rng.permutation(size)
        order = order[np.argsort(~due[order], kind="stable")]
        rows = batch.rows[order]
        # Enough anchors that their partners can fill the rest.
        min_anchors = max(-(-size // (1 + self.partners.shape[1])), int(due.sum()))
        num_partners = min(int(self.replaced_share(batch.epoch) * size), size - min_anchors)
        anchors, others = rows[: size - num_partners], rows[size - num_partners :]
        partners = self.partners[anchors].reshape(-1)
        partners = rng.permutation(np.setdiff1d(partners[partners >= 0], anchors))
        limit = self.batches.limit
        if limit is None:
            mined = partners[:num_partners]
            kept = np.setdiff1d(others, mined, assume_unique=True)[: num_partners - len(mined)]
            others = np.concatenate([mined, kept])
        else:
            others = _exchange(anchors, others, partners, limit)
        return BatchRows(np.concatenate([anchors, others]), batch.epoch, due[order])


def replaced_share(epoch: int, *, ramp: int, random: float) -> float:
    """Return the share of a batch that is replaced in an epoch, 0 to 1.

    Args:
        epoch: number of the epoch, from 0.
        ramp: epochs until the share has its full size; 0 starts with the full size.
        random: share of a batch that always stays as it was drawn.
    """
    return (1.0 - random) * (1.0 if ramp == 0 else min(1.0, epoch / ramp))


def _exchange(
    anchors: NDArray[np.int64],
    others: NDArray[np.int64],
    partners: NDArray[np.int64],
    limit: ShareLimit,
) -> NDArray[np.int64]:
    """Exchange rows of a batch for partners, one for one, as long as the limit allows it.

    A partner whose value is at its limit can only replace a row with that value.

    Args:
        anchors: (a,) long rows that stay.
        others: (b,) long rows that partners may replace.
        partners: (p,) long rows in the order in which they are tried; none is an anchor.
        limit: largest number of rows with one value in the batch.

    Returns:
        (b,) long rows.
    """
    others = others.copy()
    codes = limit.codes[others]
    counts = [
        np.bincount(column[column != UNKNOWN], minlength=int(highest) + 1)
        for column, highest in zip(
            np.concatenate([limit.codes[anchors], codes]).T, limit.codes.max(axis=0), strict=True
        )
    ]
    replaceable = ~np.isin(others, partners)  # a partner that is in the batch already stays
    for partner in partners[~np.isin(partners, others)]:
        if not replaceable.any():
            break
        incoming = limit.codes[partner]
        at_limit = [
            code != UNKNOWN and count[code] >= limit.max_rows
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
