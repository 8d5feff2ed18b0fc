"""Retrieval evaluation against a bare chunked matmul and top-k, and against what others offer.

    python benchmarks/evaluation.py

14,218 queries on 12,612 items of 512 dimensions, the size of DeepFashion In-shop. Ours searches
with exact tie-breaking and computes every metric, slice, ceiling and chance, without intervals.
Each one's memory is measured in a process of its own.

Peers do what they offer on the same embeddings and labels, with as many threads: the searches must
find the same rows, the metrics must have the same values. Ours then computes its six metrics at
1, 5 and 10. Where a peer computes fewer, or is too slow for all queries, its row says so. Metrics
of another definition are left out: torchmetrics' average precision is over the hits found.
"""

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import torch
from measure import Options, Row, alternate, benchmark, cost, installed
from torch import Tensor
from torch.nn.functional import normalize

from fashret.evaluation.evaluator import _slice_means
from fashret.functional.retrieval import ceiling, chance, per_query
from fashret.functional.topk import exact_scores, topk

QUERIES, ITEMS, DIM, K = 14_218, 12_612, 512, 10
RELEVANCES = 8
"""Product, category and six attributes."""

KS = (1, 5, 10)
CLASSES = 200
"""Values that the peers judge by: about 63 right answers to a query."""

Tensors = tuple[Tensor, Tensor, Tensor, Tensor]
"""Queries, items, and the code of each."""


def tensors(queries: int, items: int) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    asked = normalize(torch.randn(queries, DIM, generator=generator), dim=1)
    catalog = normalize(torch.randn(items, DIM, generator=generator), dim=1)
    of_queries = torch.randint(20, (RELEVANCES, queries), generator=generator)
    of_items = torch.randint(20, (RELEVANCES, items), generator=generator)
    return asked, catalog, of_queries, of_items


def bare(queries: Tensor, catalog: Tensor) -> Tensor:
    return torch.cat([(part @ catalog.T).topk(K).indices for part in queries.split(2048)])


def ours(
    queries: Tensor, catalog: Tensor, of_queries: Tensor, of_items: Tensor
) -> tuple[Tensor, dict[str, float]]:
    ranking = topk(queries, catalog, K)
    means = {}
    for number in range(RELEVANCES):
        wanted, held = of_queries[number], of_items[number]
        hits = held[ranking.rows] == wanted[:, None]
        relevant = torch.bincount(held, minlength=20)[wanted]
        distinct, inverse = relevant.unique(return_inverse=True)
        ranked = torch.full_like(distinct, len(catalog))
        for key, values in per_query(hits, relevant, KS).items():
            name, k = key.split("@")
            means[f"{number}/{key}"] = float(values.nanmean())
            ceiling(name, distinct, int(k))[inverse].nanmean()
            chance(name, distinct, ranked, int(k))[inverse].nanmean()
            if name == "precision":  # the default retrieval.slice_metrics
                slices = _slice_means(values, wanted, [str(value) for value in range(20)])
                means |= {f"{number}/{key}[{value}]": mean for value, mean in slices.items()}
    return ranking.rows, means


def judged(queries: Tensor, catalog: Tensor, wanted: Tensor, held: Tensor) -> dict[str, float]:
    """Our metrics by one label, search included."""
    ranking = topk(queries, catalog, K)
    relevant = torch.bincount(held, minlength=CLASSES)[wanted]
    found = per_query(held[ranking.rows] == wanted[:, None], relevant, KS)
    return {key: float(values.nanmean()) for key, values in found.items()}


def make(what: str, queries: int, items: int) -> Callable[[], object]:
    made = tensors(queries, items)

    def work() -> None:
        ours(*made) if what == "ours" else bare(*made[:2])

    return work


def same_rows(found: Tensor, other: Tensor) -> None:
    """Both found the same, but for rows whose scores differ by a rounding."""
    share = float((found == other).double().mean())
    assert share > 0.9999, f"only {share:.5f} of the rows are the same"


def same_values(found: dict[str, float], mine: dict[str, float], tolerance: float) -> None:
    for key, value in found.items():
        assert abs(mine[key] - value) <= tolerance, f"{key}: {mine[key]} and {value}"


def searches(queries: Tensor, catalog: Tensor, repeats: int) -> Iterator[Row]:
    """Exact search alone, and the part of it that orders near ties by exact scores."""
    what = f"search of {len(catalog):,} by {len(queries):,}"

    def mine() -> Tensor:
        return topk(queries, catalog, K).rows

    ratio = alternate(mine, lambda: bare(queries, catalog), repeats)
    same_rows(*ratio.found)
    yield Row.of(what, "bare matmul and top-k", ratio, bound=1.1)

    found = topk(queries, catalog, K).rows
    position = torch.arange(len(queries))[:, None].expand_as(found).flatten()

    def exactly() -> Tensor:
        return exact_scores(queries, catalog, position, found.flatten())

    ratio = alternate(exactly, mine, repeats)
    yield Row.of(f"exact scores of {K} rows, {what}", "the whole search", ratio)

    if not installed("faiss"):
        yield Row(what, "faiss IndexFlatIP", note="not installed")
    else:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())

        def by_faiss() -> Tensor:
            index = faiss.IndexFlatIP(DIM)
            index.add(catalog.numpy())
            return torch.from_numpy(index.search(queries.numpy(), K)[1])

        ratio = alternate(mine, by_faiss, repeats)
        same_rows(*ratio.found)
        yield Row.of(what, "faiss IndexFlatIP", ratio, bound=1.3)

    if not installed("sentence_transformers"):
        yield Row(what, "sentence-transformers semantic_search", note="not installed")
        return
    from sentence_transformers.util import dot_score, semantic_search

    def by_sentences() -> list[list[dict[str, float]]]:
        return semantic_search(queries, catalog, top_k=K, score_function=dot_score)

    ratio = alternate(mine, by_sentences, repeats)
    rows = torch.tensor([[hit["corpus_id"] for hit in hits] for hits in ratio.found[1]])
    same_rows(ratio.found[0], rows)
    yield Row.of(what, "sentence-transformers semantic_search", ratio, bound=1.05)


def by_sentence_transformers(made: Tensors) -> Callable[[], dict[str, float]]:
    from sentence_transformers import util
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    queries, catalog, wanted, held = made
    of_value: dict[int, set[str]] = {}
    for row, value in enumerate(held.tolist()):
        of_value.setdefault(value, set()).add(f"d{row}")
    evaluator = InformationRetrievalEvaluator(
        queries={f"q{row}": "" for row in range(len(queries))},
        corpus={f"d{row}": "" for row in range(len(catalog))},
        relevant_docs={f"q{row}": of_value[value] for row, value in enumerate(wanted.tolist())},
        accuracy_at_k=list(KS),
        precision_recall_at_k=list(KS),
        mrr_at_k=list(KS),
        ndcg_at_k=list(KS),
        map_at_k=list(KS),
        score_functions={"dot": util.dot_score},
    )
    # The embeddings are there: its model has nothing to do.
    stored = SimpleNamespace(
        encode_query=lambda *_, **__: queries, encode_document=lambda *_, **__: catalog
    )
    names = {"accuracy": "hit"}

    def work() -> dict[str, float]:
        found = evaluator.compute_all_metrics(stored, corpus_embeddings=catalog)["dot"]
        return {
            f"{names.get(name[:-2], name[:-2])}@{k}": value
            for name, values in found.items()
            for k, value in values.items()
        }

    return work


def by_metric_learning(made: Tensors) -> Callable[[], dict[str, float]]:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    queries, catalog, wanted, held = made
    peer = AccuracyCalculator(
        include=("precision_at_1", "mean_reciprocal_rank"), k=K, device=torch.device("cpu")
    )
    names = {"precision_at_1": "precision@1", "mean_reciprocal_rank": "mrr@10"}

    def work() -> dict[str, float]:
        found = peer.get_accuracy(queries, wanted, catalog, held)
        return {names[name]: value for name, value in found.items()}

    return work


def by_look_bench(made: Tensors) -> Callable[[], dict[str, float]]:
    from look_bench import metrics

    logging.disable(logging.INFO)  # a line a metric
    queries, catalog, wanted, held = made
    peers = {
        "hit": metrics.RankEvaluator,
        "mrr": metrics.MRREvaluator,
        "ndcg": metrics.NDCGEvaluator,
        "map": metrics.MAPEvaluator,
    }

    def work() -> dict[str, float]:
        found = {}
        for name, peer in peers.items():
            values = peer(rank_values=list(KS)).evaluate(
                queries, wanted.numpy(), catalog, held.numpy(), l2norm=False
            )
            found |= {f"{name}@{key.split('@')[1]}": value / 100 for key, value in values.items()}
        return found

    return work


def by_torchmetrics(made: Tensors) -> Callable[[], dict[str, float]]:
    from torchmetrics import MetricCollection, retrieval

    queries, catalog, wanted, held = made
    peers = {
        "hit": retrieval.RetrievalHitRate,
        "recall": retrieval.RetrievalRecall,
        "precision": retrieval.RetrievalPrecision,
        "mrr": retrieval.RetrievalMRR,
        "ndcg": retrieval.RetrievalNormalizedDCG,
    }

    def work() -> dict[str, float]:
        scores = queries @ catalog.T
        right = held[None, :] == wanted[:, None]
        place = torch.arange(len(queries))[:, None].expand_as(scores)
        collection = MetricCollection(
            {f"{name}@{k}": peer(top_k=k) for name, peer in peers.items() for k in KS}
        )
        collection.update(scores.flatten(), right.flatten(), indexes=place.flatten())
        return {key: float(value) for key, value in collection.compute().items()}

    return work


PEERS: dict[str, tuple[str, Callable[[Tensors], Callable[[], dict[str, float]]], int, int, str]]
PEERS = {
    "sentence-transformers InformationRetrievalEvaluator": (
        "sentence_transformers", by_sentence_transformers, 4000, ITEMS, "the same 18 metrics"
    ),
    "pytorch-metric-learning AccuracyCalculator": (
        "pytorch_metric_learning", by_metric_learning, 4000, ITEMS, "theirs: 2 of our 18 metrics"
    ),
    "look-bench": (
        "look_bench", by_look_bench, 200, ITEMS, "theirs: 12 of our 18 metrics, 2 decimals"
    ),
    "torchmetrics": (
        "torchmetrics", by_torchmetrics, 200, 1000, "theirs: 15 of our 18 metrics"
    ),
}  # fmt: skip
"""Module, what makes the work, queries, items and what to know, by name."""


def peers(repeats: int, quick: bool) -> Iterator[Row]:
    """Search and metrics by one label."""
    for name, (module, work, queries, items, note) in PEERS.items():
        if quick:
            queries, items = queries // 10, items // 10
        what = f"metrics of {queries:,} queries on {items:,}"
        needed = (module, "faiss") if module == "pytorch_metric_learning" else (module,)
        if not all(map(installed, needed)):
            yield Row(what, name, note="not installed")
            continue
        asked, catalog, *_ = tensors(queries, items)
        generator = torch.Generator().manual_seed(1)
        held = torch.randint(CLASSES, (items,), generator=generator)
        wanted = held[torch.randint(items, (queries,), generator=generator)]
        made = asked, catalog, wanted, held
        ratio = alternate(lambda made=made: judged(*made), work(made), repeats)
        # Single precision means; look-bench's percent have two decimals.
        same_values(ratio.found[1], ratio.found[0], 6e-5 if module == "look_bench" else 2e-6)
        yield Row.of(what, name, ratio, note=note)


def rows(options: Options) -> Iterator[Row]:
    size = (1422, 1261) if options.quick else (QUERIES, ITEMS)
    made = tensors(*size)
    what = f"{size[0]:,} queries on {size[1]:,} items"
    ratio = alternate(lambda: ours(*made), lambda: bare(*made[:2]), options.repeats)
    same_rows(ratio.found[0][0], ratio.found[1])
    yield Row.of(f"every metric, {what}", "bare matmul and top-k", ratio, bound=1.2)
    held = {which: cost(make, which, *size, repeats=0).gib for which in ("ours", "bare")}
    yield Row(
        f"memory over the embeddings, {what}",
        "bare matmul and top-k",
        held["ours"],
        held["bare"],
        "GiB",
        held["ours"] / held["bare"],
    )
    yield from searches(*made[:2], options.repeats)
    yield from peers(1 if options.quick else 3, options.quick)


if __name__ == "__main__":
    benchmark(rows, __doc__)
