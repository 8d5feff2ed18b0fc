"""The metrics against ranx and pytrec_eval, against arithmetic, and against simulation."""

import math
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute

from fashret.functional.retrieval import METRICS, ceiling, chance, per_query
from fashret.metrics.protocol import _sample

KS = (1, 3, 5, 10)


def test_toy_by_hand() -> None:
    # 3 relevant items, hits at ranks 1, 4 and 5
    hits = torch.tensor([[True, False, False, True, True]])
    values = per_query(hits, torch.tensor([3]), (1, 2, 5))
    assert float(values["precision@5"]) == pytest.approx(0.6)
    assert float(values["recall@5"]) == pytest.approx(1.0)
    assert float(values["map@2"]) == pytest.approx(0.5)
    assert float(values["mrr@5"]) == pytest.approx(1.0)
    # (1 + 1/log2(5) + 1/log2(6)) / (1 + 1/log2(3) + 1/log2(4))
    ideal = 1 + 1 / math.log2(3) + 0.5
    assert float(values["ndcg@5"]) == pytest.approx(
        (1 + 1 / math.log2(5) + 1 / math.log2(6)) / ideal
    )


def test_a_query_without_relevant_items_is_not_counted() -> None:
    values = per_query(torch.zeros(2, 5, dtype=torch.bool), torch.tensor([0, 2]), (5,))
    for value in values.values():
        assert value[0].isnan()
        assert float(value[1]) == 0.0


def test_the_best_ranking_reaches_the_ceiling() -> None:
    relevant = torch.tensor([1, 2, 3, 7, 40])
    best = torch.arange(10) < relevant[:, None]
    for key, values in per_query(best, relevant, KS).items():
        name, k = key.split("@")
        assert torch.allclose(values, ceiling(name, relevant, int(k))), key


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("relevant", "ranked"), [(1, 30), (4, 30), (12, 30), (3, 6)])
def test_chance_is_the_mean_of_random_rankings(name: str, relevant: int, ranked: int) -> None:
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(40_000, ranked, generator=generator).argsort(dim=1)
    hits = torch.nn.functional.pad(order < relevant, (0, 10))[:, :10]
    num_relevant = torch.full((len(hits),), relevant)
    for k in (1, 5, 10):
        simulated = METRICS[name](hits, num_relevant, k)
        expected = chance(name, num_relevant[:1], torch.tensor([ranked]), k)
        error = 5 * float(simulated.std()) / len(hits) ** 0.5  # five standard errors
        assert float(simulated.mean()) == pytest.approx(float(expected), abs=error + 1e-12)


def test_a_sample_keeps_every_categorys_share() -> None:
    category = np.repeat([0, 1, 2], [700, 250, 50])
    codes: Any = SimpleNamespace(described={"category": (torch.from_numpy(category), [])})
    for seed in range(5):
        rows = _sample(np.arange(1000), 100, codes, np.random.default_rng(seed))
        assert len(np.unique(rows)) == 100
        assert np.bincount(category[rows]).tolist() == pytest.approx([70, 25, 5], abs=1)
