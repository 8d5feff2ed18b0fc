"""What is relevant among the items that queries found."""

from typing import NamedTuple

import torch
from torch import Tensor

from fashret.functional.relevance import CodeRelevance, Relevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


class Judgment(NamedTuple):
    """How the ranked items of a task's queries are judged.

    Attributes:
        hits: (Q, K) bool: relevant.
        gains: (Q, K) float64, how right, 0 to 1; None where an item is relevant or is not.
        num_relevant: (Q,) long: relevant items in what was ranked.
        num_ranked: (Q,) long: items in what was ranked.
        ideal: (Q, K) float64, the largest gains there are, falling; None beside no gains.
        known: (Q,) bool: what is relevant to the query is known.
    """

    hits: Tensor
    gains: Tensor | None
    num_relevant: Tensor
    num_ranked: Tensor
    ideal: Tensor | None
    known: Tensor


class EqualCodes(NamedTuple):
    """A task whose queries and items match where their codes are known and equal.

    Attributes:
        query: (Q,) codes.
        item: (N,) codes.
        known: (Q,) bool: the query counts.
        relevant: (Q,) long: relevant rows in what was ranked.
        excluded: relevant rows that single queries must not find; None for none.
    """

    query: Tensor
    item: Tensor
    known: Tensor
    relevant: Tensor
    excluded: Excluded | None = None

    @classmethod
    def from_relevance(cls, relevance: CodeRelevance, excluded: Excluded | None) -> "EqualCodes":
        """Count what is relevant to each query, without what it must not find."""
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
        """(Q, K) bool: which ranked rows, -1 for none, are relevant to each query."""
        matched = self.item[rows.clamp(min=0)] == self.query[:, None]
        return matched & (rows >= 0) & self.known[:, None]


def judge(task: Task, search: Search, rows: Tensor) -> Judgment:
    """Judge what the queries of a task found.

    Args:
        task: what is relevant.
        search: the task's.
        rows: (Q, K) long: positions in the gallery, best first, -1 for none.
    """
    number = len(search.query_rows)
    num_ranked = torch.full((number,), len(search.gallery_rows))
    if search.excluded is not None:
        out = search.excluded.queries.cpu()
        num_ranked.index_add_(0, out, torch.ones_like(out), alpha=-1)
    if isinstance(task.relevance, CodeRelevance):
        codes = EqualCodes.from_relevance(task.relevance, search.excluded)
        return Judgment(codes.hits(rows), None, codes.relevant, num_ranked, None, codes.known)
    return _judge_by_gains(task.relevance, search.excluded, rows, num_ranked)


def _judge_by_gains(
    relevance: Relevance, excluded: Excluded | None, rows: Tensor, num_ranked: Tensor
) -> Judgment:
    queries, k = torch.arange(len(rows)), rows.shape[1]
    gains = relevance.gains(queries, rows).masked_fill(rows < 0, 0.0)
    relevant, ideal = relevance.ideal(k)
    if excluded is not None:
        asked, removed = excluded.queries.cpu(), excluded.rows.cpu()
        lost = relevance.gains(asked, removed[:, None])[:, 0] >= 1.0
        relevant = relevant.index_add(0, asked, lost.long(), alpha=-1)
        ideal = torch.minimum(ideal, (torch.arange(k) < relevant[:, None]).double())
    known = torch.ones(len(rows), dtype=torch.bool)
    return Judgment(gains >= 1.0, gains, relevant, num_ranked, ideal, known)
