"""The metrics against independent code, on the same embeddings, judgements and rankings.

Rankings are handed over, so that ties cannot differ. docs/conformance.md has what each peer calls
a metric, and is held against the tables here.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import torch
from torch import Tensor

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute
import ranx

from fashret.functional.full_ranking import full_ranking_metrics
from fashret.functional.relevance import CodeRelevance, ListedRelevance
from fashret.functional.retrieval import average_precision, graded_ndcg, per_query
from fashret.functional.topk import Ranking, topk
from support.benchmarks import result_of, task

pytestmark = pytest.mark.run

DOCS = Path(__file__).parents[1] / "docs" / "conformance.md"
KS = (1, 3, 5, 10, 50)

PEERS: dict[str, dict[str, str]] = {
    "ranx": {
        "hit_rate@k": "hit@k", "recall@k": "recall@k", "precision@k": "precision@k",
        "mrr@k": "mrr@k", "ndcg@k": "ndcg@k", "map@k": "map@k", "map": "map",
        "r-precision": "rprecision",
    },
    "pytrec_eval": {
        "success_k": "hit@k", "recall_k": "recall@k", "P_k": "precision@k",
        "ndcg_cut_k": "ndcg@k", "map_cut_k": "map@k", "map": "map", "Rprec": "rprecision",
    },
    "sentence-transformers": {
        "accuracy@k": "hit@k", "recall@k": "recall@k", "precision@k": "precision@k",
        "mrr@k": "mrr@k", "ndcg@k": "ndcg@k", "map@k": "map@k",
    },
    "pytorch-metric-learning": {
        "precision_at_1": "precision@1", "r_precision": "rprecision",
        "mean_average_precision_at_r": "map@R",
    },
    "look-bench": {
        "recall@k": "hit@k", "mrr@k": "mrr@k", "ndcg@k": "ndcg@k", "map@k": "map@k",
    },
    "mteb": {"hit_rate_at_k": "hit@k", "recall_at_k": "recall@k"},
    "open_clip": {
        "text_to_image_R@k": "hit@k", "image_to_text_R@k": "hit@k",
    },
}  # fmt: skip
"""Their names by peer, and ours."""

CASES = {
    "a few classes": (40, 300, 8),
    "as many classes as items": (60, 200, 200),
    "one item short of k": (25, 49, 5),
    "two classes": (30, 120, 2),
    "a class of one": (20, 80, 30),
}
"""Queries, items, and classes, by what is special."""


class Judged:
    """A case: embeddings, labels, the ranking, and what is right in it."""

    def __init__(self, name: str) -> None:
        num_queries, num_items, classes = CASES[name]
        generator = torch.Generator().manual_seed(len(name))
        directions = torch.randn(classes, 16, generator=generator)
        self.of_item = torch.randint(0, classes, (num_items,), generator=generator)
        self.of_item[:2] = self.of_item[0]
        of_query = self.of_item[torch.randint(0, num_items, (num_queries,), generator=generator)]
        noise = torch.randn(num_items, 16, generator=generator)
        self.items = torch.nn.functional.normalize(directions[self.of_item] + 2 * noise, dim=1)
        noise = torch.randn(num_queries, 16, generator=generator)
        self.queries = torch.nn.functional.normalize(directions[of_query] + 2 * noise, dim=1)
        self.of_query = of_query
        self.ranking: Ranking = topk(self.queries, self.items, num_items)
        self.right = of_query[:, None] == self.of_item
        self.hits = self.right.gather(1, self.ranking.rows)
        self.relevant = self.right.sum(dim=1)
        # Ours: by name, (Q,)
        k = max(KS)
        padded = torch.nn.functional.pad(self.hits, (0, max(0, k - num_items)))
        self.ours: dict[str, Tensor] = per_query(padded, self.relevant, KS)
        self.ours |= full_ranking_metrics(self.queries, self.items, lambda q: self.right[q])
        self.ours["map@R"] = torch.stack(
            [
                average_precision(hits[None], count[None], int(count))[0]
                for hits, count in zip(self.hits, self.relevant, strict=True)
            ]
        )

    @property
    def qrels(self) -> dict[str, dict[str, int]]:
        return {
            f"q{q:03d}": {f"d{d:03d}": 1 for d in row.nonzero()[:, 0].tolist()}
            for q, row in enumerate(self.right)
        }

    @property
    def run(self) -> dict[str, dict[str, float]]:
        """Scores that are all negative and fall with the rank."""
        return {
            f"q{q:03d}": {f"d{d:03d}": -1.0 - rank for rank, d in enumerate(row)}
            for q, row in enumerate(self.ranking.rows.tolist())
        }


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Judged:
    return Judged(request.param)


def equal(theirs: Any, ours: Tensor) -> None:
    assert ours.dtype == torch.float64
    assert list(theirs) == pytest.approx(ours.tolist(), abs=1e-9)


def over_all(ours: Tensor, k: int, relevant: Tensor) -> Tensor:
    """Our map@k as those define it who divide by R, where we divide by min(k, R)."""
    return ours * relevant.clamp(max=k) / relevant


@pytest.mark.parametrize(("theirs", "ours"), PEERS["ranx"].items())
def test_ranx(case: Judged, theirs: str, ours: str) -> None:
    qrels, run = ranx.Qrels(case.qrels), ranx.Run(case.run)
    for k in KS if theirs.endswith("@k") else (0,):
        name = theirs.replace("@k", f"@{k}")
        mine = case.ours[ours.replace("@k", f"@{k}")]
        if ours == "map@k":
            mine = over_all(mine, k, case.relevant)
        equal(ranx.evaluate(qrels, run, name, return_mean=False), mine)


@pytest.mark.parametrize(("theirs", "ours"), PEERS["pytrec_eval"].items())
def test_pytrec_eval(case: Judged, theirs: str, ours: str) -> None:
    cut = theirs.removesuffix("_k")
    asked = {f"{cut}.{','.join(map(str, KS))}" if cut != theirs else theirs}
    found = pytrec_eval.RelevanceEvaluator(case.qrels, asked).evaluate(case.run)
    for k in KS if cut != theirs else (0,):
        name = f"{cut}_{k}" if cut != theirs else theirs
        mine = case.ours[ours.replace("@k", f"@{k}")]
        if ours == "map@k":
            mine = over_all(mine, k, case.relevant)
        equal([found[q][name] for q in sorted(found)], mine)


def test_sentence_transformers(case: Judged) -> None:
    evaluation = pytest.importorskip("sentence_transformers.evaluation")
    ks = list(KS)
    peer = evaluation.InformationRetrievalEvaluator(
        queries={q: q for q in case.qrels},
        corpus={f"d{d:03d}": "" for d in range(len(case.items))},
        relevant_docs={q: set(found) for q, found in case.qrels.items()},
        accuracy_at_k=ks, precision_recall_at_k=ks, mrr_at_k=ks, ndcg_at_k=ks, map_at_k=ks,
    )  # fmt: skip
    found = peer.compute_metrics(
        [[{"corpus_id": d, "score": s} for d, s in row.items()] for row in case.run.values()]
    )
    for theirs, ours in PEERS["sentence-transformers"].items():
        for k in KS:
            mine = float(case.ours[ours.replace("@k", f"@{k}")].mean())
            assert found[theirs][k] == pytest.approx(mine, abs=1e-9)


def test_pytorch_metric_learning(case: Judged) -> None:
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")

    def ranked(query: Tensor, k: int, reference: Tensor, same: bool) -> tuple[Tensor, Tensor]:
        return -case.ranking.scores[:, :k], case.ranking.rows[:, :k]

    names = tuple(PEERS["pytorch-metric-learning"])
    peer = calculator.AccuracyCalculator(include=names, knn_func=ranked, device=torch.device("cpu"))
    found = peer.get_accuracy(case.queries, case.of_query, case.items, case.of_item)
    for theirs, ours in PEERS["pytorch-metric-learning"].items():
        # It keeps its sums in single precision.
        assert found[theirs] == pytest.approx(float(case.ours[ours].mean()), abs=1e-6)


def test_look_bench(case: Judged) -> None:
    metrics = pytest.importorskip("look_bench.metrics")
    peers: Mapping[str, Callable[[], Any]] = {
        "recall@k": metrics.RankEvaluator, "mrr@k": metrics.MRREvaluator,
        "ndcg@k": metrics.NDCGEvaluator, "map@k": metrics.MAPEvaluator,
    }  # fmt: skip
    labels, items = case.of_query.numpy(), case.of_item.numpy()
    assert set(peers) == set(PEERS["look-bench"])
    for theirs, ours in PEERS["look-bench"].items():
        for k in KS:
            mine = case.ours[ours.replace("@k", f"@{k}")]
            if ours == "map@k" and k > len(items):  # it cuts k at the number of items
                continue
            evaluator = peers[theirs]()
            found = [
                evaluator.metric_eval(row.numpy(), k, label, items)
                for row, label in zip(case.ranking.rows, labels, strict=True)
            ]
            equal(found, mine)


def test_look_bench_counts_a_query_without_an_answer_as_zero() -> None:
    metrics = pytest.importorskip("look_bench.metrics")
    items, queries = torch.eye(3), torch.eye(3)[:2]
    labels = torch.tensor([0, 9])
    found = metrics.RankEvaluator(rank_values=[1]).evaluate(
        queries, labels.numpy(), items, np.array([0, 1, 2])
    )
    relevance = CodeRelevance(labels, torch.tensor([0, 1, 2]))
    one = task(queries, items, relevance, ["hit@1"], zero_without_answer=True)
    assert found["recall@1"] == 100 * result_of(one).means()["hit@1"] == 50.0


def test_mteb(case: Judged) -> None:
    pytest.importorskip("mteb")
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    found = calculate_retrieval_scores(case.run, case.qrels, list(KS)).all_scores
    of_trec = {"hit_rate_at_k": "success", "recall_at_k": "recall"}
    for theirs, ours in PEERS["mteb"].items():
        for k in KS:
            mine = case.ours[ours.replace("@k", f"@{k}")]
            equal([found[q][f"{of_trec[theirs]}_{k}"] for q in sorted(found)], mine)


def test_open_clip_of_pairs() -> None:
    train = pytest.importorskip("open_clip_train.train")
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(80, 12, generator=generator), dim=1)
    text = image + 0.6 * torch.randn(80, 12, generator=generator)
    text = torch.nn.functional.normalize(text, dim=1)
    found = train.get_clip_metrics(image, text, torch.tensor(1.0))
    own = torch.arange(80)
    for asked, sought, theirs in ((text, image, "text_to_image"), (image, text, "image_to_text")):
        one = task(asked, sought, CodeRelevance(own, own), ["hit@1", "hit@5", "hit@10"])
        for metric, value in result_of(one).means().items():
            assert found[f"{theirs}_R@{metric[4:]}"] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_graded_ndcg(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 4, (20, 60)) * (rng.random((20, 60)) < 0.3)
    grades[:, 0] = 3  # a right answer for each
    order = np.argsort(rng.random((20, 60)), axis=1)
    qrels = {
        f"q{q:02d}": {f"d{d:02d}": int(grade) for d, grade in enumerate(row) if grade}
        for q, row in enumerate(grades)
    }
    run = {
        f"q{q:02d}": {f"d{d:02d}": -float(rank) for rank, d in enumerate(row)}
        for q, row in enumerate(order)
    }
    query, document = map(torch.from_numpy, np.nonzero(grades))
    gain = torch.from_numpy(grades[grades > 0] / 3.0)  # linear gains: a scale makes no difference
    relevance = ListedRelevance(query, document, gain, 20, 60)
    ideal = relevance.ideal(max(KS))[1]
    gains = relevance.gains(torch.arange(20), torch.from_numpy(order))
    asked = {f"ndcg_cut.{','.join(map(str, KS))}"}
    trec = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    for k in KS:
        mine = graded_ndcg(gains, ideal, k)
        equal([trec[q][f"ndcg_cut_{k}"] for q in sorted(trec)], mine)
        peer = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), f"ndcg@{k}", return_mean=False)
        equal(peer, mine)


def test_beirs_mrr_of_marqo(case: Judged) -> None:
    """Marqo's own loop over what was retrieved, cut at 10."""
    total = 0.0
    for query, found in case.run.items():
        first = sorted(found.items(), key=lambda item: item[1], reverse=True)[:10]
        ranks = [i for i, (d, _) in enumerate(first, start=1) if d in case.qrels[query]]
        total += 1.0 / ranks[0] if ranks else 0.0
    assert float(case.ours["mrr@10"].mean()) == pytest.approx(total / len(case.run), abs=1e-12)


def test_the_page_has_every_name() -> None:
    page = DOCS.read_text()
    for peer, names in PEERS.items():
        for theirs, ours in names.items():
            row = rf"^\| {re.escape(peer)} \| `{re.escape(theirs)}` \| `{re.escape(ours)}` \|"
            assert re.search(row, page, re.MULTILINE), (peer, theirs)
    count = sum(len(names) for names in PEERS.values())
    rankings = sum(queries for queries, _, _ in CASES.values())
    assert f"{count} metrics of {len(PEERS)} peers" in page
    assert f"{len(CASES)} sets of embeddings with {rankings} queries" in page
