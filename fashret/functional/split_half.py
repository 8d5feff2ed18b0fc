"""Design effects: how much wider an interval must be where queries are also the gallery.

Where the items of a set search one another, a new set brings new queries and a new gallery. A
bootstrap over queries knows the variance of the queries alone. Two random halves of the products,
each of which searches itself, are two independent sets of half the size, so that half the mean
squared difference of their metrics estimates the variance over new sets without bias (the variance
of a subsampled statistic from disjoint subsamples: Wang and Lindsay, Variance estimation of a
general U-statistic with application to cross-validation, 2014). Divided by the variance that the
queries of a half have alone, it gives a design effect (Kish, Survey Sampling, 1965): the factor
for the squared width of an interval that was made from queries alone. As a ratio it hardly depends
on the size of the set, so that the one of the halves serves the whole.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.functional.bootstrap import NORMAL


def small_sample_factor(products: int) -> float:
    """Factor of a variance that is estimated from few products, so that its interval covers 95 %.

    A variance that is estimated from P products is itself uncertain: an interval takes the quantile
    of Student's t in place of the normal one, and P / (P - 1) makes the estimate unbiased. A design
    effect is known less well than the variance of queries alone, so that the degrees of freedom are
    a third of the products; `benchmarks/coverage.py` shows that intervals then hold what they say.

    Args:
        products: number P of products whose queries count, at least 2.

    Returns:
        (t / z)^2 P / (P - 1), with t by the expansion of Fisher and Cornish (1960).
    """
    z, freedom = NORMAL, max(2.0, products / 3.0)
    t = z + (z**3 + z) / (4.0 * freedom)
    t += (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * freedom**2)
    return (t / z) ** 2 * products / (products - 1.0)


def depth_for_halves(k: int, views: int) -> int:
    """Ranking depth that leaves at least k rows within a random half of the products.

    Of L rows half are expected in the query's half, with a standard deviation of the square root
    of their number times the items per product, since these stay together: three standard
    deviations are allowed for.

    Args:
        k: number of rows that are needed within the half.
        views: number of items per product.
    """
    return 2 * k + math.ceil(3.0 * math.sqrt(2.0 * k * views)) + views


def random_halves(count: int, generator: torch.Generator) -> Tensor:
    """Split units into two halves at random.

    Args:
        count: number of units.
        generator: random generator of the split.

    Returns:
        (count,) long, 0 or 1.
    """
    side = torch.zeros(count, dtype=torch.long)
    side[torch.randperm(count, generator=generator)[: count // 2]] = 1
    return side


def first_within(inside: Tensor, k: int) -> Tensor:
    """Find the first k ranks of each ranking that are inside a half.

    Args:
        inside: (R, L) bool: whether each ranked row is inside, best first.
        k: number of ranks to find.

    Returns:
        (R, k) long ranks from 0, in their order; -1 where fewer are inside.
    """
    place = inside.cumsum(dim=1)
    kept = inside & (place <= k)
    first = torch.full((len(inside), k), -1, dtype=torch.long)
    row, rank = kept.nonzero(as_tuple=True)
    first[row, place[row, rank] - 1] = rank
    return first


def all_metrics(hits: Tensor, num_relevant: Tensor, ks: Tensor) -> Tensor:
    """Compute every metric of `functional.retrieval.METRICS` at every k in one float32 pass.

    Args:
        hits: (Q, K) bool: whether each ranked row is relevant, best first, K >= max(ks).
        num_relevant: (Q,) long: number of relevant rows in the gallery.
        ks: (c,) long cut-off ranks.

    Returns:
        (Q, 6 c) float32: the metrics in the order of METRICS, each at every k; NaN for a query
        without a relevant row.
    """
    is_hit = hits.float()
    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float32)
    discounts = 1.0 / torch.log2(1.0 + ranks)
    relevant = num_relevant.float()[:, None]
    counts = is_hit.cumsum(dim=1)
    first = is_hit * (counts == 1)
    at = ks - 1
    best = num_relevant[:, None].clamp(min=1).minimum(ks)  # (Q, c)
    counted = counts[:, at]
    parts = [
        (counted > 0).float(),
        counted / relevant,
        counted / ks,
        (counts / ranks * is_hit).cumsum(dim=1)[:, at] / best,
        (first / ranks).cumsum(dim=1)[:, at],
        (is_hit * discounts).cumsum(dim=1)[:, at] / discounts.cumsum(dim=0)[best - 1],
    ]
    return torch.where(relevant > 0, torch.cat(parts, dim=1), torch.nan)


@dataclass
class DesignEffect:
    """Accumulates squared differences between halves and variances within them over random splits.

    Args:
        cells: number C of statistics per metric: 1 for the mean over all queries, or one for each
            value.
        columns: number M of metrics.

    Attributes:
        between: (C + 1, M) float64 summed half squared differences of the halves; the last row is
            for the mean over the cells.
        within: (C + 1, M) float64 summed variances due to the queries of a half alone.
    """

    cells: int
    columns: int

    def __post_init__(self) -> None:
        shape = (self.cells + 1, self.columns)
        self.between = torch.zeros(shape, dtype=torch.float64)
        self.within = torch.zeros(shape, dtype=torch.float64)

    def add(self, values: Tensor, group: Tensor, cell: Tensor, side: Tensor) -> None:
        """Add random splits.

        Args:
            values: (S, Q, M) float: metrics of each query within its half in each of S splits, NaN
                where a query does not count.
            group: (Q,) long: queries of one group are one unit: a product, or a product's queries
                of one value; -1 for a query that belongs to no cell.
            cell: (G,) long: the cell of each group.
            side: (S, G) long: the half of each group in each split, 0 or 1.
        """
        in_cell = group >= 0
        values, group = values[:, in_cell], group[in_cell]
        splits, groups = side.shape
        split = torch.arange(splits)[:, None]
        unit = (split * groups + group).flatten()
        where = ((split * self.cells + cell) * 2 + side).flatten()
        values, halves = values.flatten(0, 1), splits * self.cells * 2
        counted = ~values.isnan()
        totals = _sums(values.nan_to_num(0.0), unit, len(where))
        counts = _sums(counted.to(values.dtype), unit, len(where))
        number = _sums(counts, where, halves)
        mean = _sums(totals, where, halves) / number
        deviation = totals - mean.nan_to_num(0.0)[where] * counts
        having = _sums((counts > 0).to(values.dtype), where, halves)
        variance = _sums(deviation.square(), where, halves) / number.square()
        variance = variance * having / (having - 1.0)
        variance = torch.where(having > 1, variance, torch.nan)
        shape = (splits, self.cells, 2, self.columns)
        mean, variance = mean.view(shape), variance.view(shape)
        both = mean.isfinite().all(dim=2) & variance.isfinite().all(dim=2)  # (S, C, M)
        used = both.sum(dim=1).clamp(min=1)
        overall = torch.where(both[:, :, None], mean, 0.0).sum(dim=1) / used[:, None]  # (S, 2, M)
        between = torch.where(both, (mean[:, :, 0] - mean[:, :, 1]).square() / 2.0, 0.0)
        within = torch.where(both, variance.mean(dim=2), 0.0)
        self.between[:-1] += between.sum(dim=0, dtype=torch.float64)
        self.within[:-1] += within.sum(dim=0, dtype=torch.float64)
        of_means = (overall[:, 0] - overall[:, 1]).square() / 2.0
        self.between[-1] += of_means.sum(dim=0, dtype=torch.float64)
        self.within[-1] += (within.sum(dim=1) / used.square()).sum(dim=0, dtype=torch.float64)

    def factor(self) -> Tensor:
        """Ratio of the variance over new sets to that of the queries alone, (C + 1, M), >= 1."""
        ratio = self.between / self.within
        return torch.where(self.within > 0, ratio, 1.0).clamp(min=1.0)


def _sums(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Sum the rows of (n, M) values by index, (count, M)."""
    return torch.zeros(count, values.shape[1], dtype=values.dtype).index_add_(0, index, values)
