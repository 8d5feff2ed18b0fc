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
    """Bootstrap percentile intervals of metrics' means over queries; see `resampled_means`.

    A column whose values are all equal has the interval of `widen_equal_values`.

    Args:
        values: (Q, C) float64: one query per row, one metric per column; NaN where a query does
            not count.
        groups: (Q,) long: queries with an equal code are one unit; -1 is a unit of its own.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        level: coverage of the interval, 0 to 1.

    Returns:
        (2, C) float64: lower and upper bounds; NaN for a column without a counted query.
    """
    means = resampled_means(values, groups, resamples=resamples, seed=seed)
    factors = torch.ones(values.shape[1], dtype=torch.float64)
    return widen_equal_values(percentile_interval(means, level=level), values, groups, factors)


def resampled_means(values: Tensor, groups: Tensor, *, resamples: int, seed: int) -> Tensor:
    """Means of metrics over queries in each bootstrap resample.

    Queries of one group (several photos of a product) are resampled together, since they are
    not independent. A resample is a vector of counts, so that all columns share one matrix
    product (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Args:
        values: (Q, C) float64: one query per row, one metric per column; NaN where a query does
            not count.
        groups: (Q,) long: queries with an equal code are one unit; -1 is a unit of its own.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        (resamples, C) float64; NaN where a resample has no counted query of a column.
    """
    totals, counts = _group_sums(values, groups)
    means = []
    for weights in _resample_weights(len(totals), resamples, seed, totals.device):
        means.append((weights @ totals) / (weights @ counts))
    return torch.cat(means)


def inflate_variance(means: Tensor, observed: Tensor, factors: Tensor) -> Tensor:
    """Spread resampled means around the observed mean, so that their variance grows by a factor.

    Args:
        means: (resamples, C) float64 resampled means.
        observed: (C,) float64 observed means.
        factors: (C,) float64 design effects, at least 1, that multiply the variance; see
            `functional.split_half`.

    Returns:
        (resamples, C) float64.
    """
    if bool((factors == 1.0).all()):
        return means
    return observed + (means - observed) * factors.sqrt()


def percentile_interval(means: Tensor, *, level: float = 0.95) -> Tensor:
    """Percentile interval of each column of resampled means.

    Args:
        means: (resamples, C) float64.
        level: coverage of the interval, 0 to 1.

    Returns:
        (2, C) float64: lower and upper bounds.
    """
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
        bounds: (2, C) float64: bounds of each column, from `percentile_interval`.
        values: (Q, C) float64: one query per row; NaN where a query does not count.
        groups: (Q,) long codes of units, as for `resampled_means`.
        factors: (C,) float64 design effects, by which the number of units is divided.
        paired: the values are differences of two systems; only columns that are 0 for every query
            are replaced.

    Returns:
        (2, C) float64: lower and upper bounds.
    """
    low, high = values.nan_to_num(nan=torch.inf).amin(dim=0), values.nan_to_num(nan=-torch.inf)
    equal = low == high.amax(dim=0)
    if paired:
        equal &= low == 0.0
    lowest = -1.0 if paired else 0.0
    num_units = (_group_sums(values, groups)[1] > 0).sum(dim=0) / factors
    share = NORMAL**2 / (num_units + NORMAL**2)
    widened = torch.stack([low - share * (low - lowest), low + share * (1.0 - low)])
    return torch.where(equal, widened, bounds)


def two_sided_p(means: Tensor) -> Tensor:
    """Two-sided bootstrap p values of the hypothesis that the mean difference is 0.

    Twice the smaller tail, at least 1 / (resamples + 1), at most 1.

    Args:
        means: (resamples, C) float64 resampled mean differences.

    Returns:
        (C,) float64; NaN for a column without a resample.
    """
    counted = ~means.isnan()
    num_resamples = counted.sum(dim=0)
    below = ((means <= 0) & counted).sum(dim=0)
    above = ((means >= 0) & counted).sum(dim=0)
    smaller = torch.minimum(below, above).double()
    p = (2.0 * smaller / num_resamples).clamp(max=1.0)
    p = torch.maximum(p, 1.0 / (num_resamples + 1.0))
    return torch.where(num_resamples > 0, p, torch.nan)


def holm_adjust(p: Sequence[float]) -> list[float]:
    """Adjust p values for multiple testing by Holm's method.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Args:
        p: p values of the tests, 0 to 1; NaN stays NaN and does not count as a test.

    Returns:
        The adjusted p values in the same order.
    """
    tested = sorted((value, i) for i, value in enumerate(p) if value == value)
    adjusted = list(p)
    largest = 0.0
    for rank, (value, i) in enumerate(tested):
        largest = max(largest, min(1.0, value * (len(tested) - rank)))
        adjusted[i] = largest
    return adjusted


def _group_sums(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of the counted values of each group and column, both (G, C) float64."""
    singleton = groups < 0
    unique = torch.where(singleton, groups.max().clamp(min=0) + 1 + singleton.cumsum(0), groups)
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
    """Yield how often each unit was drawn in each resample, (at most 500, num_units) float64."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, resamples, 500):
        rows = min(500, resamples - start)
        drawn = torch.randint(num_units, (rows, num_units), generator=generator)
        weights = torch.zeros(rows, num_units, dtype=torch.float64)
        weights.scatter_add_(1, drawn, torch.ones_like(weights))
        yield weights.to(device)
