"""The metrics against ranx and pytrec_eval, against arithmetic, and against simulation."""

import math
import os
from collections.abc import Sequence
from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.split_search import _sample
from fashret.functional.retrieval import METRICS, ceiling, chance, graded_ndcg, per_query
from fashret.functional.topk import Excluded, Ranking

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


def plain(name: str, hits: Sequence[bool], relevant: int, k: int) -> float:
    """A metric of one ranking, as its definition has it."""
    ranks = [rank for rank, hit in enumerate(hits[:k], start=1) if hit]
    if name == "hit":
        return float(len(ranks) > 0)
    if name == "recall":
        return len(ranks) / relevant
    if name == "precision":
        return len(ranks) / k
    if name == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if name == "map":
        return sum((i + 1) / rank for i, rank in enumerate(ranks)) / min(k, relevant)
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(k, relevant) + 1))
    return sum(1 / math.log2(1 + rank) for rank in ranks) / ideal


def all_rankings(relevant: int, ranked: int) -> list[list[bool]]:
    """Every way in which the relevant rows can lie among the ranked ones; all equally likely."""
    return [[rank in at for rank in range(ranked)] for at in combinations(range(ranked), relevant)]


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


def check_columns(
    of_query: list[int],
    of_item: list[int],
    excluded: list[tuple[int, int]],
    *,
    mode: str = "image",
    texts: list[int] | None = None,
) -> int:
    """Compare an evaluation with all rankings of what each query can find; returns how many count.

    Args:
        of_query: the code that each query looks for, -1 where it is not known.
        of_item: the code of each item of the catalog.
        excluded: queries and items that they must not find, sorted.
        mode: of the search.
        texts: the text of each query, -1 for none.
    """
    codes = {"product": (torch.tensor(of_query), torch.tensor(of_item))}
    if texts is not None:
        codes["pair"] = (torch.tensor(texts), torch.full((len(of_item),), -1))
    exclude = Excluded(*torch.tensor(excluded, dtype=torch.long).view(-1, 2).T)
    protocol: Any = SimpleNamespace(
        split="validation",
        described=(),
        options=SimpleNamespace(k=[1, 3], slice_metrics=[]),
        relevances=lambda mode: ["product"],
        relevance_codes=lambda relevance: codes[relevance],
        excluded=lambda mode: exclude if excluded else None,
    )
    found = [
        [row for row in range(len(of_item)) if (query, row) not in excluded]
        for query in range(len(of_query))
    ]
    width = max(map(len, found))
    rows = torch.tensor([own + [-1] * (width - len(own)) for own in found])
    columns = Evaluation.of(protocol, {mode: Ranking(rows, torch.zeros(rows.shape))}).columns
    counted = 0
    for i, own in enumerate(found):
        told = mode != "text" or texts is None or texts[i] != -1
        right = [told and of_item[row] == of_query[i] != -1 for row in own]
        counted += any(right)
        for name, k in product(METRICS, (1, 3)):
            column = columns[f"val/{mode}/product/{name}@{k}"]
            if not any(right):
                assert column.chance[i].isnan()
                assert column.values[i].isnan()
                continue
            values = [plain(name, h, sum(right), k) for h in all_rankings(sum(right), len(right))]
            assert float(column.chance[i]) == pytest.approx(sum(values) / len(values))
            assert float(column.ceiling[i]) == pytest.approx(max(values))
            assert float(column.values[i]) == pytest.approx(plain(name, right, sum(right), k))
    return counted


def test_chance_counts_what_each_query_can_find() -> None:
    # Codes 0 and 1 have 3 and 2 items, 2 has one, one is unknown.
    codes, queries = [0, 1, 0, -1, 2, 1, 0], [0, 1, 3, 4]
    of_query = [codes[row] for row in queries]
    assert check_columns(of_query, codes, []) == 3
    # A query that must not find itself is neither among the relevant rows nor among the ranked:
    # item 4, the only one of its code, has nothing to find.
    assert check_columns(of_query, codes, list(enumerate(queries))) == 2


def test_chance_is_that_of_what_is_left_whatever_is_excluded() -> None:
    # Query 0 must not find two rows of its code and one of another, query 2 looks for what no item
    # has, query 3 must not find an unknown row, and query 4 is of unknown code.
    of_item = [0, 0, 0, 1, -1, 1]
    excluded = [(0, 0), (0, 2), (0, 3), (3, 4), (4, 0), (4, 4)]
    assert check_columns([0, 1, 9, 1, -1], of_item, excluded) == 3
    assert check_columns([-1, 5, 3], [-1, 2, 0], [(0, 0)]) == 0
    assert check_columns([0, 0], [5, 0, 3], []) == 2


def test_an_item_without_text_is_no_text_query() -> None:
    of_item, texts = [0, 0, 1, 1], [7, -1, 8]
    assert check_columns([0, 0, 1], of_item, [], mode="text", texts=texts) == 2
    assert check_columns([0, 0, 1], of_item, [], mode="image", texts=texts) == 3
    excluded = [(0, 0), (1, 1), (2, 3)]
    assert check_columns([0, 0, 1], of_item, excluded, mode="text", texts=texts) == 2
