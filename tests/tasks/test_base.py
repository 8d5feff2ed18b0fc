"""Tasks, and samples of their queries."""

import numpy as np
import torch

from fashret.evaluation.comparison import compare
from fashret.evaluation.options import RetrievalOptions
from fashret.functional.relevance import CodeRelevance, ListedRelevance, PartialMatch, Relevance
from fashret.functional.topk import Excluded
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
