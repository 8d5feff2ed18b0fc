"""Bootstrap intervals over queries: one matrix of resample counts serves every metric."""

from collections.abc import Iterator

import torch
from torch import Tensor


def mean_interval(
    values: Tensor, groups: Tensor, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Tensor:
    """Percentile intervals of the means of many columns.

    Queries of one group (several photos of a product) are resampled together, since they are
    not independent. A resample is a vector of counts, so that all columns share one matrix
    product (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Args:
        values: (Q, C) float64: a query a row, a metric a column; NaN where a query does not count.
        groups: (Q,) long: queries with an equal code are one unit; -1 is a unit of its own.
        resamples: how often to draw.
        seed: of the draws.
        level: the coverage of the interval.

    Returns:
        (2, C) float64: low and high; NaN for a column without a counted query.
    """
    totals, counts = _group_sums(values, groups)
    drawn = []
    for weights in _resample_weights(len(totals), resamples, seed, totals.device):
        drawn.append((weights @ totals) / (weights @ counts))
    tail = (1.0 - level) / 2.0
    bounds = torch.tensor([tail, 1.0 - tail], dtype=torch.float64, device=values.device)
    means = torch.cat(drawn)  # (resamples, C)
    return torch.cat(
        [torch.nanquantile(part, bounds, dim=0) for part in means.split(256, dim=1)], dim=1
    )


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
