"""Retrieval metrics of ranked hits: what one query scores, and what chance and the ideal would.

Every function takes the same two things: which of the first K ranked rows are relevant, and how
many relevant rows there were to find. docs/metrics.md has the definitions and what other
libraries call them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor, int], Tensor]
"""hits (Q, K) bool best first, num_relevant (Q,) long, k <= K -> (Q,) float64."""


def hit(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """1 if any of the first k is relevant, else 0."""
    return hits[:, :k].any(dim=1).double()


def recall(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """The share of all relevant rows that is in the first k."""
    return hits[:, :k].sum(dim=1).double() / num_relevant


def precision(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """The share of the first k that is relevant."""
    return hits[:, :k].sum(dim=1).double() / k


def average_precision(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """map@k: the precision at each hit's rank, summed, over min(k, R)."""
    found = hits[:, :k].double()
    precisions = found.cumsum(dim=1) / _ranks(found)
    return (precisions * found).sum(dim=1) / num_relevant.clamp(max=k)


def reciprocal_rank(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """mrr@k: 1 / the first hit's rank, 0 if there is none in the first k."""
    return (hits[:, :k].double() / _ranks(hits[:, :k])).amax(dim=1)


def ndcg(hits: Tensor, num_relevant: Tensor, k: int) -> Tensor:
    """Hits discounted by log2(1 + rank), over what the ideal ranking would gain."""
    discounts = 1.0 / torch.log2(1.0 + _ranks(hits[:, :k]))
    ideal = discounts.cumsum(dim=0)[num_relevant.clamp(1, k) - 1]
    return (hits[:, :k].double() * discounts).sum(dim=1) / ideal


def graded_ndcg(gains: Tensor, ideal: Tensor, k: int) -> Tensor:
    """ndcg@k where hits are more or less right: linear gains (Jarvelin and Kekalainen, 2002).

    Args:
        gains: (Q, K) float64 of the ranked rows, best first, K >= k.
        ideal: (Q, K) the largest gains there are, falling.
        k: the cut-off.
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
"""The metrics by the name that keys use."""


def per_query(hits: Tensor, num_relevant: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """Every metric at every k for every query.

    Args:
        hits: (Q, K) bool, best first, K >= max(ks).
        num_relevant: (Q,) long: relevant rows in what was ranked.
        ks: the cut-offs.

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
    """The best value that each query could reach, (Q,) float64; NaN without a relevant row."""
    best = torch.ones(len(num_relevant), dtype=torch.float64, device=num_relevant.device)
    if name == "precision":
        best = num_relevant.clamp(max=k).double() / k
    elif name == "recall":
        best = num_relevant.clamp(max=k).double() / num_relevant
    return torch.where(num_relevant > 0, best, torch.nan)


def chance(name: str, num_relevant: Tensor, num_ranked: Tensor, k: int) -> Tensor:
    """The expected value of a random ranking of `num_ranked` rows, (Q,) float64.

    With R relevant among N rows, a rank holds a relevant row with probability R / N; given one
    hit, another rank holds one with (R - 1) / (N - 1); no hit in the first j ranks has the
    probability C(N - R, j) / C(N, j).
    """
    relevant, ranked = num_relevant.double(), num_ranked.double()
    ranks = torch.arange(1, k + 1, dtype=torch.float64, device=num_relevant.device)
    reached = ranks <= ranked[:, None]  # (Q, k): a short catalog ends before k
    share = relevant / ranked
    if name == "recall":
        value = ranked.clamp(max=k) / ranked
    elif name == "precision":
        value = share * ranked.clamp(max=k) / k
    elif name == "map":
        again = (relevant - 1) / (ranked - 1).clamp(min=1)
        expected = share[:, None] * (1 + (ranks - 1) * again[:, None]) / ranks
        value = (expected * reached).sum(dim=1) / relevant.clamp(max=k)
    elif name == "ndcg":
        discounts = 1.0 / torch.log2(1.0 + ranks)
        ideal = discounts.cumsum(dim=0)[num_relevant.clamp(1, k) - 1]
        value = share * (discounts * reached).sum(dim=1) / ideal
    else:  # hit and mrr ask for the first hit: step by step, no hit so far
        miss = torch.ones_like(share)
        value = torch.zeros_like(share)
        for rank in range(1, k + 1):
            left = (ranked - rank + 1).clamp(min=1)
            first = miss * (relevant / left).clamp(max=1.0)
            value += first * reached[:, rank - 1] / (rank if name == "mrr" else 1)
            miss = miss - first
    return torch.where(num_relevant > 0, value, torch.nan)


def _ranks(hits: Tensor) -> Tensor:
    """1, 2, ..., K as float64."""
    return torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
