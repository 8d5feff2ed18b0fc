"""Judged queries on a split's plan: the search, the task, slices by frequency, and the ranking."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.judged import JudgedSearch
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.types import JudgedQueries
from support.benchmarks import at
from support.plans import plan_of

LAYOUT = Layout.from_widths({"general": 2})


def judged(*, composed: bool = False) -> JudgedQueries:
    """Three queries of five items; 5.0 of the frequency is the head's, 4.0 the torso's."""
    return JudgedQueries(
        ["a", "b", "c"], ["test"] * 3, torch.tensor([0, 0, 1, 2, 2]),
        torch.tensor([0, 3, 2, 1, 4]), torch.tensor([1.0, 0.5, 1.0, 0.0, 1.0]).double(),
        torch.tensor([5.0, 4.0, 1.0]).double(), torch.arange(3),
        torch.tensor([4, 0, 1]) if composed else None,
    )  # fmt: skip


def evaluated(queries: JudgedQueries, asked: torch.Tensor, documents: str = "image") -> Evaluation:
    plan = plan_of([0, 1, 2, 3, 4], category=[0] * 5)
    plan = SplitSearch(
        "test", RetrievalOptions(k=[1, 3], resamples=50, documents=documents, weight_image=0.5),
        plan.queries, plan.gallery, plan.codes, plan.described,
        judged={"log": JudgedSearch("log", queries)},
    )  # fmt: skip
    text = torch.cat([at(60, 10, 80, 30), torch.zeros(1, 2)])
    embedded = SplitEmbeddings(at(0, 20, 40, 60, 80), text, LAYOUT, {"log": asked})
    return Evaluation.from_rankings(
        plan, {name: r for name, (_, r) in rank_split(plan, embedded).items()}
    )


def test_typed_queries_are_ranked_and_graded() -> None:
    found = evaluated(judged(), at(0, 80, 80)).means()
    # a finds 0, 1, 2: grades 1, 0, 0 of 1 and 0.5. b finds 4, 3, 2. c finds 4, 3, 2.
    log3 = math.log2(3)
    first = 1.0 / (1.0 + 0.5 / log3)
    second = (1.0 / 2.0) / 1.0
    assert found["test/text/judged/ndcg@3"] == pytest.approx((first + second + 1.0) / 3)
    assert found["test/text/judged/mrr@3"] == pytest.approx((1.0 + 1 / 3 + 1.0) / 3)
    assert found["test/text/judged/recall@3"] == pytest.approx((0.5 + 1.0 + 1.0) / 3)
    assert found["test/text/judged/map_cut@1"] == pytest.approx((0.5 + 0.0 + 1.0) / 3)
    assert found["test/text/judged/ndcg@3[head]"] == pytest.approx(first)
    assert found["test/text/judged/ndcg@3[torso]"] == pytest.approx(second)
    assert found["test/text/judged/ndcg@3[tail]"] == pytest.approx(1.0)
    assert "test/text/judged/mrr@3[head]" not in found


def test_documents_are_photos_texts_or_both() -> None:
    # The item without a text, 4, stays at its photo's angle.
    rows = {
        kind: evaluated(judged(), at(10, 80, 80), kind).rankings["log"].rows[0].tolist()
        for kind in ("image", "text", "mixed")
    }
    assert rows["image"] == [0, 1, 2]  # at 0, 20, 40 (0 and 1 tie), and so on
    assert rows["text"] == [1, 3, 0]  # at 10, 30, 60
    assert rows["mixed"] == [1, 0, 3]  # at 15, 30, 45


def test_composed_queries_have_their_reference_and_no_bands() -> None:
    queries = judged(composed=True)
    evaluation = evaluated(queries, at(0, 80, 80), "text")
    # Composed queries search photos, whatever typed ones search.
    assert evaluation.rankings["log"].rows[0].tolist() == [0, 1, 2]
    search = evaluation.search("test/composed/judged/hit@3")
    assert search.query_rows.tolist() == [4, 0, 1]
    assert not [key for key in evaluation.means() if "judged" in key and "[" in key]
    (task,) = (task for task in evaluation.plan.tasks if task.name == "composed/judged")
    assert list(task.headlines) == ["hit@3"]


def test_judgments_outside_the_gallery_do_not_count() -> None:
    searched = JudgedSearch("search_log", judged())
    gallery = np.array([0, 2, 4])
    task = searched.task(gallery, name="t", search="t", metrics=["recall@1"], headlines=["ndcg@1"])
    relevant, ideal = task.relevance.ideal(2)
    assert relevant.tolist() == [1, 1, 1]  # 3 is not searched
    assert ideal[0].tolist() == [1.0, 0.0]
    gains = task.relevance.gains(torch.tensor([0, 1, 2]), torch.arange(3).expand(3, -1))
    assert gains.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert list(task.sliced) == ["ndcg"]
    search = searched.search(gallery, name="t")
    assert search.query_rows.tolist() == [-1, -1, -1]
    assert search.gallery_groups is None


def test_processes_rank_their_share_of_judged_queries() -> None:
    plan = evaluated(judged(), at(0, 80, 80)).plan
    assert isinstance(plan, SplitSearch)
    image = at(0, 20, 40, 60, 80)
    embedded = SplitEmbeddings(image, image, LAYOUT, {"log": at(0, 80, 30)})
    whole = rank_split(plan, embedded)["log"][1].rows
    for part in range(2):
        own, ranking = rank_split(plan, embedded, part=part, parts=2)["log"]
        assert own.tolist() == list(range(part, 3, 2))
        assert torch.equal(ranking.rows, whole[own])


def test_a_sample_of_queries_is_one_of_judged_queries_too() -> None:
    plan = plan_of([0, 1, 2, 3, 4], category=[0] * 5)
    table: Any = SimpleNamespace(
        splits=("test",),
        rows=lambda split: np.arange(5),
        photo_codes=np.arange(5),
        dataset=SimpleNamespace(column_names=[]),
        categorical_columns=("category",),
    )
    drawn = set()
    for seed in range(6):
        options = RetrievalOptions(k=[1], max_queries=2, seed=seed)
        found = SplitSearch.from_table(table, plan.codes, "test", options, {"search_log": judged()})
        queries = found.judged["search_log"].queries
        assert len(queries) == 2
        assert len(found.queries) == 2
        drawn.add(tuple(queries.texts))
    assert len(drawn) > 1
    every = RetrievalOptions(k=[1], max_queries=3)
    found = SplitSearch.from_table(table, plan.codes, "test", every, {"search_log": judged()})
    assert list(found.judged["search_log"].queries.texts) == ["a", "b", "c"]
    assert [task.name for task in found.tasks if task.search == "search_log"] == ["text/judged"]
