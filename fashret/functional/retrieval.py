"""Retrieval metrics of ranked hits per query, with their chance level and their ceiling.

Every function takes the same two things: which of the first K ranked rows are relevant (hits), and
how many relevant rows the gallery has. docs/metrics.md has the definitions and what other
libraries call them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor, int], Tensor]
"""hits (Q, K) bool best first, num_relevant (Q,) long, k <= K -> (Q,) float64."""


def hit(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """hit@k: 1 if any of the first k rows is relevant, else 0."""
    return hits[:, :k].any(dim=1).double()


def recall(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """recall@k: the share of all relevant rows that is in the first k."""
    return hits[:, :k].sum(dim=1).double() / num_relevant


def precision(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """precision@k: the share of the first k rows that is relevant."""
    return hits[:, :k].sum(dim=1).double() / k


def average_precision(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """map@k: the precision at each hit's rank, summed, over min(k, R)."""
    return _summed_precision(hits, k) / num_relevant.clamp(max=k)


def reciprocal_rank(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """mrr@k: 1 / the first hit's rank, 0 if there is none in the first k."""
    return (hits[:, :k].double() / _ranks(hits[:, :k])).amax(dim=1)


def ndcg(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """ndcg@k: hits discounted by log2(1 + rank), over the same sum of the ideal ranking."""
    discounts = 1.0 / torch.log2(1.0 + _ranks(hits[:, :k]))
    ideal = discounts.cumsum(dim=0)[num_relevant.clamp(1, k) - 1]
    return (hits[:, :k].double() * discounts).sum(dim=1) / ideal


def graded_ndcg(gains: Tensor, ideal: Tensor, k: int) -> Tensor:
    """ndcg@k with graded relevance and linear gains (Jarvelin and Kekalainen, 2002).

    Args:
        gains: (Q, K) float64 gains of the ranked rows, best first, K >= k.
        ideal: (Q, K) float64, the largest gains that exist for each query, descending.
        k: the cut-off rank.

    Returns:
        (Q,) float64.
    """
    discounts = 1.0 / torch.log2(1.0 + _ranks(gains[:, :k]))
    return (gains[:, :k] * discounts).sum(dim=1) / (ideal[:, :k] * discounts).sum(dim=1)


METRICS: dict[str, Metric] = {
    "hit": hit,
    "recall": recall,
    "precision": precision,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "ndcg": ndcg,
}
"""The metrics by their names in metric keys."""


def average_precision_cut(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """map_cut@k: the precision at each hit's rank, summed, over R, as trec_eval divides it."""
    return _summed_precision(hits, k) / num_relevant


FURTHER_METRICS: dict[str, Metric] = {"map_cut": average_precision_cut}
"""Metrics of published tables, beside those that every evaluation has."""


def _summed_precision(hits: Tensor, k: int) -> Tensor:
    """The precision at each hit's rank within the first k, summed: (Q,) float64."""
    is_hit = hits[:, :k].double()
    precisions = is_hit.cumsum(dim=1) / _ranks(is_hit)
    return (precisions * is_hit).sum(dim=1)


def per_query(hits: Tensor, num_relevant: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """Compute every metric at every k for every query.

    Args:
        hits: (Q, K) bool: whether each ranked row is relevant, best first, K >= max(ks).
        num_relevant: (Q,) long: number of relevant rows in the gallery.
        ks: the cut-off ranks.

    Returns:
        `{"precision@10": (Q,) float64, ...}`, NaN for a query without a relevant row.
    """
    counted = num_relevant > 0
    return {
        f"{name}@{k}": torch.where(counted, metric(hits, num_relevant, k), torch.nan)
        for name, metric in METRICS.items()
        for k in ks
    }


def ceiling(name: str, num_relevant: Tensor, k: int) -> Tensor:
    """Compute the best value that each query can reach.

    Args:
        name: a metric of `METRICS`.
        num_relevant: (Q,) long: number of relevant rows in the gallery.
        k: the cut-off rank.

    Returns:
        (Q,) float64; NaN for a query without a relevant row.
    """
    best = torch.ones(len(num_relevant), dtype=torch.float64, device=num_relevant.device)
    if name == "precision":
        best = num_relevant.clamp(max=k).double() / k
    elif name == "recall":
        best = num_relevant.clamp(max=k).double() / num_relevant
    return torch.where(num_relevant > 0, best, torch.nan)


def chance(name: str, num_relevant: Tensor, num_ranked: Tensor, k: int) -> Tensor:
    """Compute the expected value of a metric for a random ranking.

    With R relevant among N rows, a rank holds a relevant row with probability R / N; given one
    hit, another rank holds one with (R - 1) / (N - 1); no hit in the first j ranks has the
    probability C(N - R, j) / C(N, j).

    Args:
        name: a metric of `METRICS`.
        num_relevant: (Q,) long: number R of relevant rows in the gallery.
        num_ranked: (Q,) long: number N of rows in the gallery.
        k: the cut-off rank.

    Returns:
        (Q,) float64; NaN for a query without a relevant row.
    """
    relevant, ranked = num_relevant.double(), num_ranked.double()
    ranks = torch.arange(1, k + 1, dtype=torch.float64, device=num_relevant.device)
    exists = ranks <= ranked[:, None]  # (Q, k): a small gallery ends before rank k
    share = relevant / ranked
    if name == "recall":
        value = ranked.clamp(max=k) / ranked
    elif name == "precision":
        value = share * ranked.clamp(max=k) / k
    elif name == "map":
        second_hit = (relevant - 1) / (ranked - 1).clamp(min=1)
        expected = share[:, None] * (1 + (ranks - 1) * second_hit[:, None]) / ranks
        value = (expected * exists).sum(dim=1) / relevant.clamp(max=k)
    elif name == "ndcg":
        discounts = 1.0 / torch.log2(1.0 + ranks)
        ideal = discounts.cumsum(dim=0)[num_relevant.clamp(1, k) - 1]
        value = share * (discounts * exists).sum(dim=1) / ideal
    else:  # hit and mrr depend on the first hit: `miss` is the probability of none so far
        miss = torch.ones_like(share)
        value = torch.zeros_like(share)
        for rank in range(1, k + 1):
            remaining = (ranked - rank + 1).clamp(min=1)
            first = miss * (relevant / remaining).clamp(max=1.0)
            value += first * exists[:, rank - 1] / (rank if name == "mrr" else 1)
            miss = miss - first
    return torch.where(num_relevant > 0, value, torch.nan)


def _ranks(hits: Tensor) -> Tensor:
    """1, 2, ..., K as float64."""
    return torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
