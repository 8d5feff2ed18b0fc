"""Bootstrap intervals, p values and their correction."""

import numpy as np
import pytest
import torch

from fashret.functional.bootstrap import (
    holm_adjust,
    mean_interval,
    percentile_interval,
    resampled_means,
    two_sided_p,
    widen_equal_values,
)


def test_p_is_never_zero() -> None:
    means = resampled_means(torch.ones(50, 1), torch.arange(50), resamples=200, seed=0)
    assert float(two_sided_p(means)) == pytest.approx(1 / 201)


def test_holm_adjusts_as_in_the_textbook() -> None:
    nan = float("nan")
    adjusted = holm_adjust([0.01, 0.04, nan, 0.03, 0.005])
    assert adjusted[:2] == pytest.approx([0.03, 0.06])
    assert np.isnan(adjusted[2])
    assert adjusted[3:] == pytest.approx([0.06, 0.02])


def test_interval_equals_a_plain_bootstrap_over_rows() -> None:
    values = torch.rand(80, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = mean_interval(values, torch.full((80,), -1), resamples=20_000, seed=0)
    rng = np.random.default_rng(0)
    drawn = values.numpy()[rng.integers(80, size=(20_000, 80))].mean(axis=1)
    expected = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert found.numpy() == pytest.approx(expected, abs=0.003)  # two independent draws


def test_views_of_one_product_are_resampled_together() -> None:
    # 40 products, whose 25 photos all score the same: as uncertain as 40 queries, not 1,000.
    of_product = torch.rand(40, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = of_product.repeat_interleave(25, dim=0)
    groups = torch.arange(40).repeat_interleave(25)
    together = mean_interval(values, groups, resamples=4000)
    of_products = mean_interval(of_product, torch.full((40,), -1), resamples=4000)
    assert together.numpy() == pytest.approx(of_products.numpy(), abs=1e-12)
    apart = mean_interval(values, torch.full((1000,), -1), resamples=4000)
    assert float(together[1] - together[0]) > 3 * float(apart[1] - apart[0])


def test_queries_that_do_not_count_change_nothing() -> None:
    values = torch.rand(50, 1, dtype=torch.float64)
    wide = torch.cat([values, torch.full_like(values, torch.nan)], dim=1)
    found = mean_interval(wide, torch.arange(50), resamples=500)
    alone = mean_interval(values, torch.arange(50), resamples=500)
    assert found[:, :1].numpy() == pytest.approx(alone.numpy(), abs=1e-12)
    assert bool(found[:, 1].isnan().all())


def test_photos_of_a_product_single_queries_and_uncounted_values_are_drawn_as_units() -> None:
    # 10 queries of their own, and products 3 and 12 (not 0, 1, ...) of several photos each, one of
    # them without a value. An interval of means by plain resampling of those 12 units.
    values = torch.rand(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 2
    values[17] = torch.nan
    groups = torch.tensor([-1] * 5 + [3] * 4 + [-1] * 5 + [12] * 6)
    units = [[float(values[i])] for i in (*range(5), *range(9, 14))]
    for code in (3, 12):
        units.append([float(v) for v in values[groups == code] if v == v])
    sums, counts = np.array([sum(u) for u in units]), np.array([len(u) for u in units])
    drawn = np.random.default_rng(1).integers(12, size=(40_000, 12))
    expected = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    means = resampled_means(values, groups, resamples=40_000, seed=0)
    assert means.shape == (40_000, 1)
    # Two independent draws: quantiles are as far apart as 5 standard errors allow at most.
    spread = float(expected.std())
    levels = [0.025, 0.25, 0.5, 0.75, 0.975]
    found = np.quantile(means.numpy(), levels)
    assert found == pytest.approx(np.quantile(expected, levels), abs=0.05 * spread)
    low, high = percentile_interval(means, level=0.5)[:, 0].tolist()
    assert (low, high) == pytest.approx((found[1], found[3]))


def test_a_group_may_begin_at_any_code() -> None:
    values = torch.arange(6, dtype=torch.float64)[:, None]
    by_product = torch.tensor([0, 0, 0, 1, 1, 1])  # means 1 and 4, by how often each was drawn
    means = resampled_means(values, by_product, resamples=300, seed=0)
    assert {round(float(mean), 6) for mean in means.unique()} == {1.0, 2.5, 4.0}
    apart = torch.tensor([-1, -1, -1, -1, 0, 0])
    means = resampled_means(torch.tensor([[0.0]] * 4 + [[1.0]] * 2), apart, resamples=2000, seed=0)
    # The pair was drawn k of 5 times: 2 k of 5 + k queries score 1.
    assert {round(float(mean), 6) for mean in means.unique()} <= {
        round(2 * k / (5 + k), 6) for k in range(6)
    }


def test_as_many_resamples_as_asked_and_none_twice() -> None:
    values = torch.rand(30, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for resamples in (1, 499, 501, 1000, 1203):
        means = resampled_means(values, torch.arange(30), resamples=resamples, seed=0)
        assert len(means) == len(means.unique()) == resamples
    again = resampled_means(values, torch.arange(30), resamples=1203, seed=0)
    assert torch.equal(again, means)
    other = resampled_means(values, torch.arange(30), resamples=1203, seed=1)
    assert not torch.isin(other, means).any()


def test_every_column_has_its_interval_however_many_there_are() -> None:
    means = torch.rand(101, 600, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = percentile_interval(means, level=0.8)
    assert found.shape == (2, 600)
    # 101 values: the tenth part ends on the 11th and the 91st of them.
    ordered = means.sort(dim=0).values
    assert torch.allclose(found, ordered[[10, 90]])


def test_p_is_twice_the_smaller_tail() -> None:
    nan = torch.nan
    columns = [
        [-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],  # 1 of 10 is not above 0
        [-1.0, -2.0, 3.0, -4.0, -5.0, -6.0, -7.0, 8.0, 9.0, -1.0],  # 3 of 10 are not below
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # zeros count in both tails
        [0.0] * 10,  # both tails are all of it
        [-1.0, 1.0, 1.0, 1.0, 1.0, nan, nan, nan, nan, nan],  # 1 of the 5 that count
        [1.0] * 10,  # none: at least 1 / 11
        [nan] * 10,
    ]
    p = two_sided_p(torch.tensor(columns, dtype=torch.float64).T)
    assert p[:6].tolist() == pytest.approx([0.2, 0.6, 0.6, 1.0, 0.4, 1 / 11])
    assert bool(p[6].isnan())


def test_holm_never_exceeds_one_nor_falls_below_a_smaller_p() -> None:
    # 3 x 0.5 is cut at 1; 0.2 x 4 is 0.8; 0.7 is last (x 1) but not below what came before it.
    assert holm_adjust([0.5, 0.2, 0.7, 0.6]) == pytest.approx([1.0, 0.8, 1.0, 1.0])
    # 0.02 x 2 is 0.04, and 0.03 x 1 is not below it.
    assert holm_adjust([0.03, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm_adjust([]) == []


def test_equal_values_leave_the_interval_that_wilson_gives_none_of_n() -> None:
    """None of 10 units failed, two photos a unit: 1.96^2 / (10 + 1.96^2) = 0.2775 may yet fail."""
    ones = torch.ones(20, 1, dtype=torch.float64)
    units = torch.arange(20) // 2
    low, high = mean_interval(ones, units, resamples=20)
    assert (float(low), float(high)) == (pytest.approx(1.0 - 0.27753, abs=1e-5), 1.0)
    low, high = mean_interval(ones - 1.0, units, resamples=20)
    assert (float(low), float(high)) == (0.0, pytest.approx(0.27753, abs=1e-5))
    low, high = mean_interval(ones * 0.2, units, resamples=20)  # an exception may be anything
    assert float(low) == pytest.approx(0.2 - 0.27753 * 0.2, abs=1e-5)
    assert float(high) == pytest.approx(0.2 + 0.27753 * 0.8, abs=1e-5)
    factors = torch.tensor([2.0])  # half as many independent units: 3.8415 / (5 + 3.8415)
    wide = widen_equal_values(torch.zeros(2, 1), ones - 1.0, units, factors, paired=True)
    assert wide[:, 0].tolist() == pytest.approx([-0.43448, 0.43448], abs=1e-5)


def test_values_that_vary_and_columns_without_any_keep_their_interval() -> None:
    values = torch.tensor([[1.0, torch.nan], [0.0, torch.nan]], dtype=torch.float64)
    bounds = torch.tensor([[0.1, torch.nan], [0.9, torch.nan]], dtype=torch.float64)
    kept = widen_equal_values(bounds, values, torch.arange(2), torch.ones(2))
    assert torch.equal(kept.nan_to_num(-1.0), bounds.nan_to_num(-1.0))
    shifted = torch.full((2, 1), 0.3, dtype=torch.float64)  # a difference that is not 0
    kept = widen_equal_values(bounds[:, :1], shifted, torch.arange(2), torch.ones(1), paired=True)
    assert torch.equal(kept, bounds[:, :1])
