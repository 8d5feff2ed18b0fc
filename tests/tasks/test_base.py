"""Tasks, and samples of their queries."""

import numpy as np
import torch

from fashret.evaluation.comparison import compare
from fashret.evaluation.options import RetrievalOptions
from fashret.functional.relevance import CodeRelevance, ListedRelevance, PartialMatch, Relevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from support.benchmarks import at, evaluation_of, task


def test_an_evaluation_differs_from_itself_by_nothing() -> None:
    one = task(
        at(0, 10), at(0, 20), CodeRelevance(torch.tensor([0, 1]), torch.tensor([0, 1])), ["hit@1"]
    )
    found = evaluation_of(one)
    change = compare(found, found, ["test/given/t/hit@1"])["test/given/t/hit@1"]
    assert (change.low, change.high) == (0.0, 0.0)


def test_a_sample_of_queries_keeps_what_each_finds() -> None:
    """The values of the sampled queries are those that they have among all, of every relevance."""
    generator = torch.Generator().manual_seed(0)
    queries, gallery = at(*range(0, 90, 3)), at(*range(1, 91, 2))
    code = torch.randint(0, 4, (30,), generator=generator)
    of_item = torch.randint(0, 4, (45,), generator=generator)
    excluded = Excluded(torch.arange(30), torch.arange(30))
    listed = ListedRelevance(
        torch.arange(30), torch.arange(30) + 5, torch.ones(30).double(), 30, 45
    )
    partial = PartialMatch(code[:, None], of_item[:, None])
    relevances: list[Relevance] = [CodeRelevance(code, of_item), listed, partial]
    for relevance in relevances:
        one = task(queries, gallery, relevance, ["hit@3", "ndcg@3"], excluded=excluded)
        whole = evaluation_of(one)
        some = evaluation_of(one, options=RetrievalOptions(resamples=20, max_queries=12))
        names = some.plan.searches["t"].query_names
        assert names is not None
        assert len(names) == 12
        rows = [int(name[1:]) for name in names]
        for metric in ("hit@3", "ndcg@3"):
            key = f"test/given/t/{metric}"
            values, expected = some.columns[key].values, whole.columns[key].values[rows]
            torch.testing.assert_close(values, expected, equal_nan=True)
        assert np.array_equal(some.hits("t"), whole.hits("t")[rows])


def test_a_subset_has_the_queries_at_its_positions_with_all_that_belongs_to_them() -> None:
    search = Search(
        "s", np.array([10, 11, 12, 13]), np.arange(6), torch.tensor([5, 6, 7, 8]),
        torch.arange(6), torch.arange(6) // 2,
        Excluded(torch.tensor([0, 1, 1, 3, 3]), torch.tensor([4, 0, 2, 1, 5])),
        ["a", "b", "c", "d"],
    )  # fmt: skip
    some = search.subset(np.array([1, 3]))
    assert some.name == "s"
    assert some.query_rows.tolist() == [11, 13]
    assert some.groups.tolist() == [6, 8]
    assert some.query_names == ["b", "d"]
    assert some.excluded is not None
    assert [part.tolist() for part in some.excluded] == [[0, 0, 1, 1], [0, 2, 1, 5]]
    assert some.gallery_rows.tolist() == list(range(6))
    assert some.gallery_groups is search.gallery_groups
    assert some.units is search.units
    plain = Search("s", search.query_rows, search.gallery_rows, search.groups)
    few = plain.subset(np.array([2]))
    assert (few.excluded, few.query_names, few.query_rows.tolist()) == (None, None, [12])


def test_the_values_and_the_relevance_of_a_task_are_those_of_its_queries() -> None:
    relevance = CodeRelevance(torch.tensor([4, 5, 6]), torch.tensor([6, 4]))
    whole = Task("t", "s", relevance, ["hit@1"], [], (torch.tensor([0, 1, 0]), ["x", "y"]))
    some = whole.subset(np.array([1, 2]))
    assert some.values is not None
    assert (some.values[0].tolist(), some.values[1]) == ([1, 0], ["x", "y"])
    assert isinstance(some.relevance, CodeRelevance)
    assert some.relevance.query_codes.tolist() == [5, 6]
    assert some.relevance.document_codes.tolist() == [6, 4]
    assert not whole.zero_without_answer
    without = Task("t", "s", relevance, ["hit@1"], [])
    assert without.subset(np.array([0])).values is None
