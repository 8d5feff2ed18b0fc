"""The metrics against ranx and pytrec_eval, against arithmetic, and against simulation."""

import math
import os
from itertools import product

import pytest
import torch

from fashret.functional.retrieval import (
    METRICS,
    average_precision_cut,
    ceiling,
    chance,
    graded_ndcg,
    per_query,
)
from support.rankings import all_rankings, plain

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute
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


@pytest.mark.parametrize("name", METRICS)
def test_chance_and_ceiling_are_the_mean_and_the_best_of_all_rankings(name: str) -> None:
    compared = 0
    for ranked, k in product((1, 2, 3, 5, 6), (1, 2, 3, 5, 8)):
        for relevant in range(1, ranked + 1):
            values = [plain(name, hits, relevant, k) for hits in all_rankings(relevant, ranked)]
            counts = torch.tensor([relevant]), torch.tensor([ranked])
            luck = chance(name, *counts, k)
            assert float(luck) == pytest.approx(sum(values) / len(values)), (relevant, ranked, k)
            best = ceiling(name, counts[0], k)
            assert float(best) == pytest.approx(max(values)), (relevant, ranked, k)
            compared += 1
    assert compared == 85


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_all_rankings_are_what_their_definitions_say(name: str) -> None:
    rankings = all_rankings(3, 6) + all_rankings(2, 6) + all_rankings(5, 6)
    hits = torch.tensor(rankings)
    for k in (1, 2, 4, 6):
        found = METRICS[name](hits, hits.sum(dim=1), k)
        expected = [plain(name, ranking, sum(ranking), k) for ranking in rankings]
        assert found.dtype == torch.float64
        assert found.tolist() == pytest.approx(expected)


def test_chance_of_several_queries_and_of_none() -> None:
    relevant, ranked = torch.tensor([0, 1, 4]), torch.tensor([7, 5, 4])
    for name in METRICS:
        together = chance(name, relevant, ranked, 3)
        assert together[0].isnan()
        assert ceiling(name, relevant, 3)[0].isnan()
        alone = [float(chance(name, relevant[i : i + 1], ranked[i : i + 1], 3)) for i in (1, 2)]
        assert together[1:].tolist() == pytest.approx(alone)


def test_graded_gains_are_discounted_by_rank() -> None:
    gains = torch.tensor([[0.0, 3.0, 1.0, 9.0], [2.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    ideal = torch.tensor([[9.0, 3.0, 1.0, 0.0], [2.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    # discounts at ranks 1, 2 and 3: 1, 1 / log2(3) and 1 / 2
    second = 1 / math.log2(3)
    expected = (3 * second + 1 * 0.5) / (9 + 3 * second + 1 * 0.5)
    assert graded_ndcg(gains, ideal, 3).tolist() == pytest.approx([expected, 1.0])
    assert graded_ndcg(gains, ideal, 1).tolist() == pytest.approx([0.0, 1.0])


def test_map_cut_divides_by_all_relevant_rows() -> None:
    # Hits at ranks 1 and 3, and at rank 2; 4 and 1 rows are relevant.
    hits = torch.tensor([[True, False, True], [False, True, False]])
    relevant = torch.tensor([4, 1])
    assert average_precision_cut(hits, relevant, 3).tolist() == pytest.approx(
        [(1 + 2 / 3) / 4, 1 / 2]
    )
    assert average_precision_cut(hits, relevant, 1).tolist() == pytest.approx([1 / 4, 0.0])
