"""Bootstrap intervals over queries: one matrix of resample counts serves every metric."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

NORMAL = 1.959964
"""The two-sided 95 % quantile of the normal distribution."""


def mean_interval(
    values: Tensor,
    groups: Tensor,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Tensor:
    """Percentile intervals of the means of many columns; see `resampled_means`.

    A column whose values are all equal has the interval of `widen_equal_values`.

    Args:
        values: (Q, C) float64: a query a row, a metric a column; NaN where a query does not count.
        groups: (Q,) long: queries with an equal code are one unit; -1 is a unit of its own.
        resamples: how often to draw.
        seed: of the draws.
        level: the coverage of the interval.

    Returns:
        (2, C) float64: low and high; NaN for a column without a counted query.
    """
    drawn = resampled_means(values, groups, resamples=resamples, seed=seed)
    factors = torch.ones(values.shape[1], dtype=torch.float64)
    return widen_equal_values(interval(drawn, level=level), values, groups, factors)


def resampled_means(values: Tensor, groups: Tensor, *, resamples: int, seed: int) -> Tensor:
    """The means of many columns in each of many resamples of the queries.

    Queries of one group (several photos of a product) are resampled together, since they are
    not independent. A resample is a vector of counts, so that all columns share one matrix
    product (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Args:
        values: (Q, C) float64: a query a row, a metric a column; NaN where a query does not count.
        groups: (Q,) long: queries with an equal code are one unit; -1 is a unit of its own.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        (resamples, C) float64; NaN where no query of a column was drawn.
    """
    totals, counts = _group_sums(values, groups)
    drawn = []
    for weights in _resample_weights(len(totals), resamples, seed, totals.device):
        drawn.append((weights @ totals) / (weights @ counts))
    return torch.cat(drawn)


def widened(means: Tensor, centre: Tensor, factors: Tensor) -> Tensor:
    """Resampled means whose variance is larger by a factor, about the observed mean.

    Args:
        means: (resamples, C).
        centre: (C,) the observed means.
        factors: (C,) of the variance, at least 1; see `functional.split_half`.
    """
    if bool((factors == 1.0).all()):
        return means
    return centre + (means - centre) * factors.sqrt()


def interval(means: Tensor, *, level: float = 0.95) -> Tensor:
    """(resamples, C) resampled means -> (2, C): the percentile interval of each column."""
    tail = (1.0 - level) / 2.0
    bounds = torch.tensor([tail, 1.0 - tail], dtype=torch.float64, device=means.device)
    return torch.cat(
        [torch.nanquantile(part, bounds, dim=0) for part in means.split(256, dim=1)], dim=1
    )


def widen_equal_values(
    bounds: Tensor, values: Tensor, groups: Tensor, factors: Tensor, *, paired: bool = False
) -> Tensor:
    """Replace the intervals of columns whose values are all equal, which no resample can vary.

    A bootstrap would call such a mean certain. Of n units without an exception, a share of up to
    z^2 / (n + z^2) of new ones may be exceptions (Wilson, Probable Inference, the Law of
    Succession, and Statistical Inference, 1927, at 0 of n and 95 %), and an exception may have
    any value from 0 to 1, or from -1 to 1 for a difference.

    Args:
        bounds: (2, C) float64: low and high of each column, as `interval` gives them.
        values: (Q, C) float64; NaN where a query does not count.
        groups: (Q,) long, as for `resampled_means`.
        factors: (C,) design effects, which divide the number of units.
        paired: whether the values are differences of two systems, of which only those are
            replaced that are 0 for every query.

    Returns:
        (2, C) float64.
    """
    low, high = values.nan_to_num(nan=torch.inf).amin(dim=0), values.nan_to_num(nan=-torch.inf)
    equal = low == high.amax(dim=0)
    if paired:
        equal &= low == 0.0
    lowest = -1.0 if paired else 0.0
    num_units = (_group_sums(values, groups)[1] > 0).sum(dim=0) / factors
    share = NORMAL**2 / (num_units + NORMAL**2)
    certain = torch.stack([low - share * (low - lowest), low + share * (1.0 - low)])
    return torch.where(equal, certain, bounds)


def two_sided_p(means: Tensor) -> Tensor:
    """(resamples, C) resampled mean differences -> (C,): two-sided p values of a mean of 0.

    Twice the smaller tail, at least 1 / (resamples + 1), at most 1; NaN without a resample.
    """
    counted = ~means.isnan()
    drawn = counted.sum(dim=0)
    below = ((means <= 0) & counted).sum(dim=0)
    above = ((means >= 0) & counted).sum(dim=0)
    smaller = torch.minimum(below, above).double()
    p = (2.0 * smaller / drawn).clamp(max=1.0)
    p = torch.maximum(p, 1.0 / (drawn + 1.0))
    return torch.where(drawn > 0, p, torch.nan)


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for being one of several, in the order given.

    NaN stays NaN and counts as no test (Holm, A Simple Sequentially Rejective Multiple Test
    Procedure, 1979).
    """
    tested = sorted((value, i) for i, value in enumerate(p) if value == value)
    adjusted = list(p)
    largest = 0.0
    for rank, (value, i) in enumerate(tested):
        largest = max(largest, min(1.0, value * (len(tested) - rank)))
        adjusted[i] = largest
    return adjusted


def _group_sums(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """The sum and the number of counted values of each group and column, both (G, C) float64."""
    alone = groups < 0
    unique = torch.where(alone, groups.max().clamp(min=0) + 1 + alone.cumsum(0), groups)
    unit = unique.unique(return_inverse=True)[1]
    shape = (int(unit.max()) + 1, values.shape[1])
    counted = ~values.isnan()
    totals = torch.zeros(shape, dtype=torch.float64, device=values.device)
    counts = torch.zeros_like(totals)
    totals.index_add_(0, unit, values.nan_to_num(0.0).double())
    counts.index_add_(0, unit, counted.double())
    return totals, counts


def _resample_weights(
    num_units: int, resamples: int, seed: int, device: torch.device
) -> Iterator[Tensor]:
    """How often each unit was drawn, in blocks of (at most 500, num_units) float64."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, resamples, 500):
        rows = min(500, resamples - start)
        drawn = torch.randint(num_units, (rows, num_units), generator=generator)
        weights = torch.zeros(rows, num_units, dtype=torch.float64)
        weights.scatter_add_(1, drawn, torch.ones_like(weights))
        yield weights.to(device)
