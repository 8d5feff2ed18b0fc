"""What all benchmarks share: rows, roles, samples of queries, means over tasks, and keys."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import AttributeSpecific, Keyword, Paired, SearchLog
from fashret.evaluation.benchmarks.base import (
    BenchmarkPlan,
    evaluate_benchmark,
    mean_of,
    not_itself,
)
from fashret.evaluation.options import RetrievalOptions
from fashret.functional.relevance import CodeRelevance
from support.benchmarks import FEW, Given, at, evaluation_of, inputs, task

CODES = CodeRelevance(torch.arange(8), torch.arange(8))


def test_rows_and_names_are_those_at_positions_among_the_rows_of_the_benchmark() -> None:
    on = inputs(
        at(*range(6)), role=["query", "gallery"] * 3, product=["b", "a", "a", "c", "b", None]
    )
    on = replace(on, rows=np.array([1, 2, 4, 5]))
    assert on.names() == ["i1", "i2", "i4", "i5"]
    assert on.names(torch.tensor([3, 0])) == ["i5", "i1"]
    assert on.rows_at().tolist() == [1, 2, 4, 5]
    assert on.rows_at(torch.tensor([1, 2])).tolist() == [2, 4]
    assert on.role("query").tolist() == [1, 2]  # the rows 2 and 4
    assert on.role("gallery").tolist() == [0, 3]
    assert on.code("product", torch.tensor([0, 2, 3])).tolist() == [0, 1, -1]
    assert on.code("caption", torch.tensor([2])).tolist() == [4]
    with pytest.raises(ConfigError, match="no item of the split has the role other"):
        on.role("other")


@pytest.mark.parametrize("most", [1, 5, 7, 8, 9, None])
def test_a_sample_has_as_many_queries_as_asked_in_their_order(most: int | None) -> None:
    one = task(at(*range(0, 80, 10)), at(*range(8)), CODES, ["hit@1"])
    drawn = one.sampled(most, 3)
    names = drawn.search.query_names
    assert names is not None
    numbers = [int(name[1:]) for name in names]
    assert len(numbers) == (8 if most is None else min(8, most))
    assert numbers == sorted(set(numbers))
    assert torch.equal(drawn.queries, one.queries[numbers])
    assert drawn.gallery is one.gallery
    assert one.sampled(most, 3).search.query_names == names  # seeded
    if most == 5:
        assert len({tuple(one.sampled(5, seed).search.query_names or ()) for seed in range(6)}) > 1


def test_each_task_has_a_sample_of_its_own_and_the_seed_decides() -> None:
    one = task(at(*range(0, 80, 10)), at(*range(8)), CODES, ["hit@1"])
    two = one._replace(
        task=replace(one.task, name="u", search="u"), search=replace(one.search, name="u")
    )

    def drawn(seed: int) -> list[Any]:
        options = RetrievalOptions(resamples=20, max_queries=4, seed=seed)
        searches = evaluation_of(one, two, options=options).plan.searches
        return [searches[name].query_names for name in ("t", "u")]

    first, second = drawn(0)
    assert first != second
    assert drawn(5)[0] != first
    assert drawn(0) == [first, second]


def test_queries_are_not_their_own_answer_where_they_are_in_the_gallery() -> None:
    found = not_itself(torch.tensor([1, 4, 6, 9]), torch.tensor([0, 1, 5, 6]))
    assert [part.tolist() for part in found] == [[0, 2], [1, 3]]
    same = torch.tensor([2, 3])
    assert [part.tolist() for part in not_itself(same, same)] == [[0, 1], [0, 1]]


def test_means_over_tasks_are_of_the_metrics_that_all_have_and_weigh_each_task_alike() -> None:
    given: Any = [
        SimpleNamespace(means=lambda: {"a": 0.5, "b": 1.0, "c": 0.1}),
        SimpleNamespace(means=lambda: {"b": 0.25, "a": 0.0}),
        SimpleNamespace(means=lambda: {"a": 0.1, "b": 0.1, "c": 0.1}),
    ]
    assert mean_of(given) == {"a": pytest.approx(0.2), "b": pytest.approx(0.45)}


def test_keys_begin_with_the_split_and_the_name_of_the_benchmark() -> None:
    def prefix(benchmark: Any, split: str | None) -> str:
        return BenchmarkPlan(benchmark, split, FEW, [], {}).prefix

    assert prefix(Paired(k=[1]), "validation") == "val/paired"
    assert prefix(Paired(k=[1]), "test") == "test/paired"
    for split in (None, "all"):
        assert prefix(AttributeSpecific(), split) == "all/attribute_specific"
    assert prefix(SearchLog(judgments="x"), "train") == "train/search_log"


def test_a_benchmark_is_known_by_its_settings() -> None:
    assert Paired(split="test", k=[1, 5]).identity() == {
        "name": "paired", "split": "test", "k": [1, 5],
    }  # fmt: skip
    assert Paired(k=[1]).summary([]) == {}
    assert Paired(k=[1]).split is None


def test_a_benchmark_without_a_query_is_refused_and_notes_are_those_of_its_tasks() -> None:
    nothing: Any = None
    with pytest.raises(ConfigError, match="protocol=given: the data yields no query"):
        evaluate_benchmark(Given(given=[]), "test", FEW, nothing)
    one = task(at(0), at(0), CodeRelevance(torch.tensor([0]), torch.tensor([0])), ["hit@1"])
    noted = one._replace(task=replace(one.task, notes=["a", "b"]))
    plan: Any = evaluation_of(noted).plan
    assert plan.notes == ["a", "b"]


def test_products_are_ranked_in_the_place_of_items() -> None:
    one = task(
        at(0, 90),
        at(0, 10, 80),
        CodeRelevance(torch.tensor([0, 1]), torch.tensor([0, 0, 1])),
        ["hit@1"],
    )
    one = one._replace(search=replace(one.search, gallery_rows=np.array([2, 3, 5])))
    units = one.by_product(torch.tensor([9, 9, 4, 4, 4, 7])).search.units
    assert units is not None
    assert units.tolist() == [0, 0, 1]


def test_a_ranking_is_as_deep_as_the_largest_cut_off() -> None:
    gallery = at(*range(0, 60, 3))
    relevance = CodeRelevance(torch.tensor([0]), torch.tensor([0] + [1] * 18 + [0]))
    found = evaluation_of(task(at(0), gallery, relevance, ["hit@1", "recall@20"]))
    assert found.rankings["t"].rows.shape == (1, 20)
    assert found.means()["test/given/t/recall@20"] == 1.0


def test_keyword_queries_are_a_seeded_sample_of_the_combinations_that_items_have() -> None:
    words = [f"w{i}" for i in range(9)]
    on = inputs(
        at(*range(9)), typed={f"{word} tees": 10.0 for word in words},
        category=["tees"] * 9, colour=list(words),
    )  # fmt: skip
    drawn = []
    for seed, most in ((0, 9), (0, 8), (1, 4), (2, 4)):
        made = Keyword(
            split=None, templates=["{colour} {category}"], schema=None, max_queries=most, seed=seed,
            k=[1, 3],
        )  # fmt: skip
        (one,) = made.tasks(on)
        names = one.search.query_names
        assert names is not None
        assert len(set(names)) == len(names) == most
        assert list(names) == sorted(names)
        drawn.append(tuple(names))
        assert list(one.task.headlines) == ["precision@3", "ndcg@3"]
        assert list(one.task.metrics) == [
            f"{m}@{k}" for m in ("hit", "precision", "ndcg") for k in (1, 3)
        ]
    assert drawn[2] != drawn[3]
