"""Metrics of whole rankings against a loop over sorted scores."""

import pytest
import torch
from torch import Tensor

from fashret.evaluation.benchmarks.base import not_itself
from fashret.functional import full_ranking as whole
from fashret.functional.full_ranking import full_ranking_metrics
from fashret.functional.topk import Excluded
from support.benchmarks import at


def test_whole_rankings_leave_out_what_is_excluded() -> None:
    images = at(0, 10, 30, 60)
    right = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]).bool()
    places = torch.arange(4)
    found = full_ranking_metrics(
        images[:2], images, lambda q: right[q], not_itself(places[:2], places)
    )
    assert found["map"][0] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-12)
    assert found["rprecision"][0] == 0.5
    assert found["map"].isnan().tolist() == [False, True]


def by_hand(
    query: Tensor, catalog: Tensor, right: list[bool], barred: set[int]
) -> dict[str, float]:
    """Average precision and R-precision of one query; NaN where nothing is right."""
    scores = [float((query.double() * row.double()).sum()) for row in catalog]
    order = sorted(set(range(len(catalog))) - barred, key=lambda row: (-scores[row], row))
    hits = [right[row] for row in order]
    relevant = sum(hits)
    if not relevant:
        return {"map": float("nan"), "rprecision": float("nan")}
    precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
    return {
        "map": sum(precisions) / relevant,
        "rprecision": sum(hits[:relevant]) / relevant,
    }


@pytest.mark.parametrize("at_a_time", [1, 60, 10_000])
@pytest.mark.parametrize("oneself", [False, True])
def test_whole_rankings_equal_a_loop(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int, oneself: bool
) -> None:
    monkeypatch.setattr(whole, "_SCORES_PER_CHUNK", at_a_time)  # one, two or all of 9 queries
    generator = torch.Generator().manual_seed(0)
    catalog = torch.randint(-2, 3, (30, 3), generator=generator).float()  # ties of unequal rows
    queries = catalog[:9]
    right = torch.rand(9, 30, generator=generator) < 0.2
    right[4] = False
    right[5] = torch.arange(30) == 5  # nothing but itself
    right[6] = True
    exclude = None if oneself else Excluded(torch.arange(9), torch.arange(9))
    found = full_ranking_metrics(queries, catalog, lambda q: right[q], exclude)
    assert list(found) == ["map", "rprecision"]
    for i in range(9):
        expected = by_hand(queries[i], catalog, right[i].tolist(), set() if oneself else {i})
        for name, value in expected.items():
            assert float(found[name][i]) == pytest.approx(value, nan_ok=True), (name, i)
    assert bool(found["map"][4].isnan())
    assert bool(found["map"][5].isnan()) != oneself
    assert float(found["rprecision"][6]) == 1.0


def test_no_query_has_no_values() -> None:
    found = full_ranking_metrics(
        torch.empty(0, 3), torch.eye(3), lambda q: torch.ones(len(q), 3).bool()
    )
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "map": (0,),
        "rprecision": (0,),
    }
