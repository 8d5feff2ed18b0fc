import numpy as np
import pytest
import torch

from fashret.functional.bootstrap import mean_interval


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
