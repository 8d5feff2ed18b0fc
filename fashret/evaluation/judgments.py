"""Relevance judgments: which of the retrieved items are relevant to each query."""

from typing import NamedTuple

import torch
from torch import Tensor

from fashret.functional.relevance import CodeRelevance, Relevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


class Judgment(NamedTuple):
    """The relevance judgments of the ranked items of a task's queries.

    Attributes:
        hits: (Q, K) bool: whether the item at each rank is relevant.
        gains: (Q, K) float64 graded relevance, 0 to 1; None for binary relevance.
        num_relevant: (Q,) long number of relevant items in the gallery, without excluded ones.
        num_ranked: (Q,) long number of items in the gallery, without excluded ones.
        ideal: (Q, K) float64 gains of the ideal ranking, descending; None for binary relevance.
        known: (Q,) bool: whether the ground truth of the query is known.
    """

    hits: Tensor
    gains: Tensor | None
    num_relevant: Tensor
    num_ranked: Tensor
    ideal: Tensor | None
    known: Tensor


class EqualCodes(NamedTuple):
    """Binary ground truth: an item is relevant to a query if their codes are known and equal.

    Attributes:
        query: (Q,) long codes of the queries.
        item: (N,) long codes of the gallery items.
        known: (Q,) bool: whether the query has a known code.
        relevant: (Q,) long number of relevant items, without excluded ones.
        excluded: relevant items that are excluded from single queries' rankings; None for none.
    """

    query: Tensor
    item: Tensor
    known: Tensor
    relevant: Tensor
    excluded: Excluded | None = None

    @classmethod
    def from_relevance(cls, relevance: CodeRelevance, excluded: Excluded | None) -> "EqualCodes":
        """Count the relevant items of each query, without those excluded from its ranking."""
        of_query, of_item = relevance.query_codes, relevance.document_codes
        known = of_query != UNKNOWN
        num_codes = 1 + int(max(of_query.max(), of_item.max(), torch.tensor(0)))
        counts = torch.bincount(of_item[of_item != UNKNOWN], minlength=num_codes)
        relevant = torch.where(known, counts[of_query.clamp(min=0)], 0)
        lost_pairs = None
        if excluded is not None:
            queries, rows = excluded.queries.cpu(), excluded.rows.cpu()
            lost = (of_query[queries] == of_item[rows]) & known[queries]
            relevant.index_add_(0, queries, lost.long(), alpha=-1)
            lost_pairs = Excluded(queries[lost], rows[lost])
        return cls(of_query, of_item, known, relevant, lost_pairs)

    def hits(self, rows: Tensor) -> Tensor:
        """(Q, K) bool: whether each ranked item is relevant; -1 in `rows` stands for no item."""
        matched = self.item[rows.clamp(min=0)] == self.query[:, None]
        return matched & (rows >= 0) & self.known[:, None]


def relevance_judgments(task: Task, search: Search, rows: Tensor) -> Judgment:
    """Look up the relevance of every ranked item in a task's ground truth.

    Args:
        task: the ground truth.
        search: the queries and the gallery of the task.
        rows: (Q, K) long gallery positions, best first, -1 after the last one.
    """
    num_queries = len(search.query_rows)
    num_ranked = torch.full((num_queries,), len(search.gallery_rows))
    if search.excluded is not None:
        queries = search.excluded.queries.cpu()
        num_ranked.index_add_(0, queries, torch.ones_like(queries), alpha=-1)
    if isinstance(task.relevance, CodeRelevance):
        codes = EqualCodes.from_relevance(task.relevance, search.excluded)
        return Judgment(codes.hits(rows), None, codes.relevant, num_ranked, None, codes.known)
    return _graded_judgments(task.relevance, search.excluded, rows, num_ranked)


def _graded_judgments(
    relevance: Relevance, excluded: Excluded | None, rows: Tensor, num_ranked: Tensor
) -> Judgment:
    queries, k = torch.arange(len(rows)), rows.shape[1]
    gains = relevance.gains(queries, rows).masked_fill(rows < 0, 0.0)
    relevant, ideal = relevance.ideal(k)
    if excluded is not None:
        of_query, removed = excluded.queries.cpu(), excluded.rows.cpu()
        lost = relevance.gains(of_query, removed[:, None])[:, 0] >= 1.0
        relevant = relevant.index_add(0, of_query, lost.long(), alpha=-1)
        ideal = torch.minimum(ideal, (torch.arange(k) < relevant[:, None]).double())
    known = torch.ones(len(rows), dtype=torch.bool)
    return Judgment(gains >= 1.0, gains, relevant, num_ranked, ideal, known)
