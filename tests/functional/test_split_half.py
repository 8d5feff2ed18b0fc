"""Split halves: rankings and metrics within a half, and the variance between halves."""

import math

import pytest
import torch
from torch import Tensor

from fashret.functional.bootstrap import inflate_variance
from fashret.functional.retrieval import METRICS
from fashret.functional.split_half import (
    DesignEffect,
    all_metrics,
    depth_for_halves,
    first_within,
    random_halves,
    small_sample_factor,
)


def test_a_ranking_is_deep_enough_for_three_deviations() -> None:
    # 2 x 10 rows, 3 roots of 2 x 10 x 2 (18.97, rounded up), and a product's 2 views
    assert depth_for_halves(10, 2) == 20 + 19 + 2
    assert depth_for_halves(50, 1) == 100 + 30 + 1
    assert depth_for_halves(1, 8) == 2 + 12 + 8


def test_halves_are_random_and_as_even_as_can_be() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (2, 7, 100):
        drawn = [random_halves(count, generator) for _ in range(20)]
        for side in drawn:
            assert side.shape == (count,)
            assert int(side.sum()) == count // 2
            assert set(side.tolist()) == {0, 1}
        assert len({tuple(side.tolist()) for side in drawn}) > 1
    again = [random_halves(9, torch.Generator().manual_seed(3)).tolist() for _ in range(2)]
    assert again[0] == again[1]
    # Each unit is in each half half of the time: 400 draws, five standard deviations are 50.
    times = sum(random_halves(10, generator) for _ in range(400))
    assert all(abs(int(n) - 200) < 50 for n in times)  # type: ignore[union-attr]


def test_the_first_ranks_of_a_half_keep_their_order() -> None:
    generator = torch.Generator().manual_seed(1)
    inside = torch.rand(30, 9, generator=generator) < 0.4
    inside[0], inside[1] = True, False
    for k in (1, 3, 9):
        found = first_within(inside, k)
        for q in range(30):
            kept = [rank for rank, here in enumerate(inside[q].tolist()) if here][:k]
            assert found[q].tolist() == kept + [-1] * (k - len(kept))


def test_all_metrics_in_one_pass_are_the_metrics_one_by_one() -> None:
    generator = torch.Generator().manual_seed(2)
    hits = torch.rand(60, 12, generator=generator) < 0.3
    hits[3] = False
    num_relevant = hits.sum(dim=1) + torch.randint(0, 9, (60,), generator=generator)
    num_relevant[3], num_relevant[4] = 5, 0
    hits[4] = False
    for ks in ([1], [5, 10], [1, 3, 12]):
        found = all_metrics(hits, num_relevant, torch.tensor(ks))
        assert found.shape == (60, 6 * len(ks))
        assert found.dtype == torch.float32
        columns = [
            metric(hits, num_relevant, k).masked_fill(num_relevant == 0, math.nan)
            for metric in METRICS.values()
            for k in ks
        ]
        expected = torch.stack(columns, dim=1).float()
        assert torch.allclose(found, expected, atol=1e-6, equal_nan=True)
        assert found[4].isnan().all()
        assert not found[3].isnan().any()


def mean_and_variance(values: list[tuple[int, float]]) -> tuple[float, float]:
    """The mean of (group, value)s, and its variance where groups are drawn as a whole.

    A ratio of sums over G groups: G / (G - 1) times the sum of squared residuals of the groups
    over the squared number of values (Cochran, Sampling Techniques, 1977, section 6.4).
    """
    if not values:
        return math.nan, math.nan
    mean = sum(value for _, value in values) / len(values)
    groups = {group for group, _ in values}
    if len(groups) < 2:
        return mean, math.nan
    residuals = [sum(v - mean for g, v in values if g == group) for group in groups]
    spread = sum(r * r for r in residuals) / len(values) ** 2
    return mean, spread * len(groups) / (len(groups) - 1)


def expected_sums(
    splits: list[tuple[Tensor, Tensor, Tensor, Tensor]], cells: int, columns: int
) -> tuple[list[list[float]], list[list[float]]]:
    """What a DesignEffect gathers, value by value."""
    between = [[0.0] * columns for _ in range(cells + 1)]
    within = [[0.0] * columns for _ in range(cells + 1)]
    for values, group, cell, side in splits:
        for column in range(columns):
            used = []
            for c in range(cells):
                halves = [
                    mean_and_variance(
                        [
                            (int(g), float(v))
                            for g, v in zip(group, values[:, column], strict=True)
                            if g >= 0 and not v.isnan() and (cell[g], side[g]) == (c, half)
                        ]
                    )
                    for half in (0, 1)
                ]
                if any(math.isnan(part) for half in halves for part in half):
                    continue
                used.append(halves)
                between[c][column] += (halves[0][0] - halves[1][0]) ** 2 / 2
                within[c][column] += (halves[0][1] + halves[1][1]) / 2
            if used:
                means = [sum(halves[h][0] for halves in used) / len(used) for h in (0, 1)]
                between[-1][column] += (means[0] - means[1]) ** 2 / 2
                within[-1][column] += sum((h[0][1] + h[1][1]) / 2 for h in used) / len(used) ** 2
    return between, within


def random_split(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """50 queries of 14 groups in 3 cells, some of which have too little to count."""
    values = torch.rand(50, 2, generator=generator, dtype=torch.float64)
    values[torch.rand(50, 2, generator=generator) < 0.15] = math.nan
    group = torch.randint(-1, 14, (50,), generator=generator)
    cell = torch.tensor([0] * 7 + [1] * 5 + [2] * 2)
    side = torch.randint(0, 2, (14,), generator=generator)
    return values, group, cell, side


def test_variances_between_and_within_halves_equal_a_loop() -> None:
    generator = torch.Generator().manual_seed(4)
    splits = [random_split(generator) for _ in range(12)]
    values, group, cell, side = random_split(generator)
    values[:, 1] = math.nan  # a metric that no query has
    splits.append((values, group, cell, side))
    effect = DesignEffect(3, 2)
    for values, group, cell, side in splits:
        effect.add(values[None], group, cell, side[None])
    between, within = expected_sums(splits, 3, 2)
    assert torch.allclose(effect.between, torch.tensor(between, dtype=torch.float64))
    assert torch.allclose(effect.within, torch.tensor(within, dtype=torch.float64))
    assert within[2] == [0.0, 0.0]  # two groups are never two in each half
    assert within[1][0] > 0.0


def test_splits_may_be_added_together() -> None:
    """A small set's splits are one step; each counts by itself."""
    generator = torch.Generator().manual_seed(6)
    splits = [random_split(generator) for _ in range(9)]
    _, group, cell, _ = splits[0]
    values = torch.stack([split[0] for split in splits])
    side = torch.stack([split[3] for split in splits])
    together, each = DesignEffect(3, 2), DesignEffect(3, 2)
    together.add(values, group, cell, side)
    for one, halves in zip(values, side, strict=True):
        each.add(one[None], group, cell, halves[None])
    assert float(each.within[0, 0]) > 0.0
    assert torch.allclose(together.between, each.between, rtol=1e-12)
    assert torch.allclose(together.within, each.within, rtol=1e-12)


def test_the_factor_is_the_ratio_but_never_narrows() -> None:
    effect = DesignEffect(1, 3)
    effect.between = torch.tensor([[3e-4, 1.0, 5.0], [8.0, 0.0, 0.0]], dtype=torch.float64)
    effect.within = torch.tensor([[2e-4, 4.0, 0.0], [2.0, 1.0, 0.0]], dtype=torch.float64)
    assert effect.factor().flatten().tolist() == pytest.approx([1.5, 1.0, 1.0, 4.0, 1.0, 1.0])


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 1.0), (0.1, 3.0)])
def test_what_a_half_shares_widens_by_its_variance(shared: float, expected: float) -> None:
    # 200 queries of variance 1 in each half: their mean has the variance 0.005. What all queries
    # of a half share has the variance 0.1^2 = 0.01, so that the factor is (0.005 + 0.01) / 0.005.
    generator = torch.Generator().manual_seed(5)
    effect = DesignEffect(1, 1)
    cell, splits = torch.zeros(400, dtype=torch.long), 1500
    for _ in range(splits):
        side = random_halves(400, generator)
        own = torch.randn(400, 1, generator=generator, dtype=torch.float64)
        both = shared * torch.randn(2, 1, generator=generator, dtype=torch.float64)
        effect.add((own + both[side])[None], torch.arange(400), cell, side[None])
    # A squared normal has the standard deviation sqrt(2) times its mean: five errors of 1,500.
    found = float((effect.between / effect.within)[0, 0])
    assert found == pytest.approx(expected, rel=5 * math.sqrt(2 / splits))
    # One cell's mean over the cells is its own.
    assert float((effect.between / effect.within)[1, 0]) == pytest.approx(found)


def test_resampled_means_widen_about_the_observed_mean() -> None:
    means = torch.tensor([[1.0, 5.0], [3.0, 5.5], [5.0, 4.0]], dtype=torch.float64)
    centre, factors = torch.tensor([2.0, 5.0]).double(), torch.tensor([4.0, 1.0]).double()
    # twice as far from 2, and as far as before from 5
    expected = [[0.0, 5.0], [4.0, 5.5], [8.0, 4.0]]
    assert inflate_variance(means, centre, factors).tolist() == expected


@pytest.mark.parametrize(
    ("products", "quantile"), [(30, 2.228139), (60, 2.085963), (90, 2.042272), (300, 1.983972)]
)
def test_few_products_take_the_quantile_of_students_t(products: int, quantile: float) -> None:
    """The tabled 97.5 % quantiles of t with a third of the products as degrees of freedom."""
    expected = (quantile / 1.959964) ** 2 * products / (products - 1)  # to two terms
    assert small_sample_factor(products) == pytest.approx(expected, rel=3e-3)
    assert small_sample_factor(2) > small_sample_factor(30)
