"""Retrieval metrics as torchmetrics classes, for any LightningModule and any MetricCollection.

They need nothing else of fashret: no catalog, no configuration, no trainer. The formulas are those
of `fashret.functional.retrieval`; the classes rank scores, keep what each query found, gather it
over batches and processes, and count a query that was seen twice once.

    >>> import torch
    >>> from torchmetrics import MetricCollection
    >>> metrics = MetricCollection([RetrievalPrecision(k=2), RetrievalMRR(k=2)])
    >>> scores = torch.tensor([[0.9, 0.2, 0.7], [-0.1, -0.8, -0.3]])
    >>> target = torch.tensor([[0, 0, 1], [1, 0, 1]])
    >>> metrics.update(scores, target, query_ids=torch.tensor([0, 1]))
    >>> {name: round(value.item(), 4) for name, value in metrics.compute().items()}
    {'RetrievalPrecision': 0.75, 'RetrievalMRR': 0.75}

torchmetrics' own `torchmetrics.retrieval` takes flat predictions, targets and query indices. These
classes take a row of scores for each query and differ from it in four ways: map@k divides by
min(k, R) instead of by the hits that were found; a query without a relevant item is left out
instead of counting as 0; ties are broken by the smaller column instead of in no defined order; and
a query that two processes see counts once.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fashret.evaluation.retrieval_metric import RetrievalMetric, first_columns
from fashret.functional.retrieval import METRICS, graded_ndcg

__all__ = [
    "RetrievalHitRate",
    "RetrievalMAP",
    "RetrievalMRR",
    "RetrievalNDCG",
    "RetrievalPrecision",
    "RetrievalRecall",
]


class _BinaryMetric(RetrievalMetric):
    """A metric of `fashret.functional.retrieval.METRICS`.

    In a MetricCollection all of these with the same k keep the same states, so that torchmetrics
    ranks once for all of them (a compute group). Metrics with another k have states of another
    shape and never share them.
    """

    _key: ClassVar[str]
    hits: list[Tensor]
    num_relevant: list[Tensor]

    def __init__(
        self,
        k: int = 10,
        *,
        without_relevant: Literal["skip", "zero"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(k, without_relevant=without_relevant, **kwargs)
        self._add_column("hits", torch.empty(0, k, dtype=torch.bool))
        self._add_column("num_relevant", torch.empty(0, dtype=torch.long))

    def _store(self, first: Tensor, grades: Tensor) -> None:
        self._store_ranked(first > 0, (grades > 0).sum(dim=1))

    def _store_ranked(self, hits: Tensor, num_relevant: Tensor) -> None:
        self.hits.append(hits)
        self.num_relevant.append(num_relevant)

    def _relevant(self, columns: dict[str, Tensor]) -> Tensor:
        return columns["num_relevant"]

    def _per_query(self, columns: dict[str, Tensor]) -> Tensor:
        return METRICS[self._key](columns["hits"], columns["num_relevant"], self.k)


class RetrievalHitRate(_BinaryMetric):
    """Hit rate at k: the share of queries with a relevant item among the first k.

    hit@k = 1 if one of the first k items is relevant, else 0. It is called CMC@k in person
    re-identification, and "Recall@k" in papers on the In-shop benchmark (Liu et al., DeepFashion,
    CVPR 2016). torchmetrics' `RetrievalHitRate` has the same value for each query; see this
    module for how ties, repeated queries and queries without a relevant item differ.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        >>> import torch
        >>> metric = RetrievalHitRate(k=1)
        >>> scores = torch.tensor([[0.9, 0.2, 0.7], [-0.1, -0.8, -0.3]])
        >>> target = torch.tensor([[0, 0, 1], [1, 0, 0]])
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.5000)
    """

    _key = "hit"


class RetrievalRecall(_BinaryMetric):
    """Recall at k: the share of all relevant items that is among the first k.

    recall@k = h / R, with h relevant items among the first k and R relevant items in the whole
    ranking (Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 2008, chapter
    8). Its ceiling is min(k, R) / R: with many relevant items use `RetrievalPrecision`, with one
    `RetrievalHitRate` is the same. torchmetrics' `RetrievalRecall` has the same value for each
    query; see this module for how ties, repeated queries and queries without a relevant item
    differ.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        >>> import torch
        >>> metric = RetrievalRecall(k=2)
        >>> scores = torch.tensor([[0.9, 0.2, 0.7, 0.1]])
        >>> target = torch.tensor([[1, 0, 0, 1]])
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.5000)
    """

    _key = "recall"


class RetrievalPrecision(_BinaryMetric):
    """Precision at k: the share of the first k that is relevant.

    precision@k = h / k, with h relevant items among the first k (Manning, Raghavan and Schuetze,
    Introduction to Information Retrieval, 2008, chapter 8). It divides by k even if the catalog
    has fewer items, as trec_eval and torchmetrics' `RetrievalPrecision(adaptive_k=False)` do; its
    ceiling is min(k, R) / k. See this module for how ties, repeated queries and queries without a
    relevant item differ from torchmetrics.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        >>> import torch
        >>> metric = RetrievalPrecision(k=2)
        >>> scores = torch.tensor([[0.9, 0.2, 0.7, 0.1]])
        >>> target = torch.tensor([[1, 0, -1, 1]])  # the second of the ranking is unknown
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.5000)
    """

    _key = "precision"


class RetrievalMAP(_BinaryMetric):
    """Mean average precision at k: the precision at the rank of each hit, over min(k, R).

    map@k = (sum of precision@r over the ranks r <= k that hold a relevant item) / min(k, R), with
    R relevant items in the whole ranking, so that a perfect ranking scores 1 (sentence-transformers
    has the same). torchmetrics' `RetrievalMAP` divides by the hits among the first k instead, which
    rewards finding less: one hit at rank 1 scores 1 there, however many relevant items are missing.
    trec_eval, ranx and beir divide by R, so that no ranking reaches 1 where R is larger than k.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        Three relevant items at ranks 1, 4 and 5: of the first two ranks only the first is a hit,
        and min(2, 3) = 2 could be, so that map@2 = 1/2. torchmetrics has 1.

        >>> import torch
        >>> metric = RetrievalMAP(k=2)
        >>> scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
        >>> target = torch.tensor([[1, 0, 0, 1, 1]])
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.5000)
        >>> from torchmetrics.retrieval import RetrievalMAP as TheirMAP
        >>> TheirMAP(top_k=2)(scores[0], target[0], indexes=torch.zeros(5, dtype=torch.long))
        tensor(1.)
    """

    _key = "map"


class RetrievalMRR(_BinaryMetric):
    """Mean reciprocal rank at k: 1 over the rank of the first relevant item.

    mrr@k = 1 / rank of the first relevant item if it is among the first k, else 0 (Voorhees, The
    TREC-8 Question Answering Track Report, 1999, there without a cut-off). torchmetrics'
    `RetrievalMRR` has the same value for each query; see this module for how ties, repeated
    queries and queries without a relevant item differ.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        >>> import torch
        >>> metric = RetrievalMRR(k=10)  # the catalog may have fewer items
        >>> scores = torch.tensor([[0.9, 0.2, 0.7, 0.1]])
        >>> target = torch.tensor([[0, 1, 1, 0]])
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.5000)
    """

    _key = "mrr"


class RetrievalNDCG(RetrievalMetric):
    """Normalised discounted cumulative gain at k, with binary or graded relevance.

    ndcg@k = DCG / ideal DCG, with DCG = sum over ranks r <= k of gain(r) / log2(1 + r); the ideal
    ranking has the largest gains first (Jarvelin and Kekalainen, Cumulated gain-based evaluation of
    IR techniques, 2002). The gain of an item is its target: 1 for a relevant item, or its grade;
    gains are linear, as in trec_eval and torchmetrics, not 2^grade - 1. torchmetrics'
    `RetrievalNormalizedDCG` gives tied items the mean of their gains; here the smaller column comes
    first, as in every other metric. An unknown item has the gain 0.

    Args:
        k: how many of the first items count, at least 1.
        without_relevant: "skip" leaves out a query without a relevant item, "zero" counts it as 0.
        kwargs: arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: k or without_relevant is not allowed.

    Example:
        The first rank has gain 1 and the second gain 3; the ideal order is 3, 1:
        (1 + 3 / log2(3)) / (3 + 1 / log2(3)) = 0.7967. `update_ranked` knows no grades: every hit
        has the gain 1.

        >>> import torch
        >>> metric = RetrievalNDCG(k=2)
        >>> scores = torch.tensor([[0.9, 0.8, 0.7]])
        >>> target = torch.tensor([[1, 3, 0]])
        >>> metric.update(scores, target)
        >>> metric.compute()
        tensor(0.7967)
    """

    gains: list[Tensor]
    ideal: list[Tensor]

    def __init__(
        self,
        k: int = 10,
        *,
        without_relevant: Literal["skip", "zero"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(k, without_relevant=without_relevant, **kwargs)
        self._add_column("gains", torch.empty(0, k, dtype=torch.int32))
        self._add_column("ideal", torch.empty(0, k, dtype=torch.int32))

    def _store(self, first: Tensor, grades: Tensor) -> None:
        self.gains.append(first)
        largest = grades.topk(min(self.k, grades.shape[1]), dim=1).values
        self.ideal.append(first_columns(largest, self.k))

    def _store_ranked(self, hits: Tensor, num_relevant: Tensor) -> None:
        self.gains.append(hits.int())
        ranks = torch.arange(self.k, device=hits.device)
        self.ideal.append((ranks < num_relevant[:, None]).int())

    def _relevant(self, columns: dict[str, Tensor]) -> Tensor:
        return columns["ideal"].sum(dim=1)

    def _per_query(self, columns: dict[str, Tensor]) -> Tensor:
        return graded_ndcg(columns["gains"].double(), columns["ideal"].double(), self.k)
