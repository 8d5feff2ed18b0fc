"""Relevance judgments: which of the retrieved items are relevant to each query."""

from typing import NamedTuple

import torch
from torch import Tensor

from fashret.errors import ConfigError
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
        counted: (N,) bool: the items that count as relevant ones: those of a known code; of units,
            one of each unit and code.
        relevant: (Q,) long number of relevant items, or units, without excluded ones.
        excluded: relevant items, or one of each unit, that are excluded from single queries'
            rankings; None for none.
        units: (N,) long unit of each item; a unit is relevant if one of its items is. None for
            items.
    """

    query: Tensor
    item: Tensor
    known: Tensor
    counted: Tensor
    relevant: Tensor
    excluded: Excluded | None = None
    units: Tensor | None = None

    @classmethod
    def from_relevance(
        cls, relevance: CodeRelevance, excluded: Excluded | None, units: Tensor | None = None
    ) -> "EqualCodes":
        """Count the relevant items of each query, without those excluded from its ranking.

        Args:
            relevance: the codes.
            excluded: items that are excluded from single queries' rankings; None for none.
            units: (N,) long unit of each item, which is counted in the place of its items.
        """
        of_query, of_item = relevance.query_codes, relevance.document_codes
        known = of_query != UNKNOWN
        num_codes = 1 + int(max(of_query.max(), of_item.max(), torch.tensor(0)))
        counted = of_item != UNKNOWN
        if units is not None:
            counted = _first_of_each(units * (num_codes + 1) + of_item, counted)
        counts = torch.bincount(of_item[counted], minlength=num_codes)
        relevant = torch.where(known, counts[of_query.clamp(min=0)], 0)
        lost_pairs = None
        if excluded is not None:
            queries, rows = excluded.queries.cpu(), excluded.rows.cpu()
            lost = (of_query[queries] == of_item[rows]) & known[queries]
            queries, rows = queries[lost], rows[lost]
            if units is not None:
                queries, rows = _lost_units(queries, rows, units * (num_codes + 1) + of_item)
            relevant.index_add_(0, queries, torch.ones_like(queries), alpha=-1)
            lost_pairs = Excluded(queries, rows)
        return cls(of_query, of_item, known, counted, relevant, lost_pairs, units)

    def hits(self, rows: Tensor) -> Tensor:
        """(Q, K) bool: whether each ranked item, or its unit, is relevant; -1 is padding."""
        if self.units is not None:
            return self._unit_hits(rows, self.units)
        matched = self.item[rows.clamp(min=0)] == self.query[:, None]
        return matched & (rows >= 0) & self.known[:, None]

    def _unit_hits(self, rows: Tensor, units: Tensor) -> Tensor:
        """Whether the unit of each ranked item has a relevant item that is not excluded."""
        size = 2 + int(max(self.query.max(), self.item.max(), torch.tensor(0)))
        having = (units * size + self.item)[self.counted].sort().values
        unit = units[rows.clamp(min=0)]
        hits = _is_in(unit * size + self.query[:, None].clamp(min=0), having)
        hits &= (rows >= 0) & self.known[:, None]
        if self.excluded is not None:
            queries, lost = self.excluded
            count = int(units.max()) + 1
            gone = (queries * count + units[lost]).sort().values
            hits &= ~_is_in(torch.arange(len(rows))[:, None] * count + unit, gone)
        return hits


def _is_in(values: Tensor, among: Tensor) -> Tensor:
    """Whether values are among sorted ones, elementwise."""
    if not len(among):
        return torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(among, values).clamp(max=len(among) - 1)
    return among[place] == values


def relevance_judgments(task: Task, search: Search, rows: Tensor) -> Judgment:
    """Look up the relevance of every ranked item in a task's ground truth.

    Args:
        task: the ground truth.
        search: the queries and the gallery of the task.
        rows: (Q, K) long gallery positions, best first, -1 after the last one.
    """
    num_queries, units = len(search.query_rows), search.units
    size = len(search.gallery_rows) if units is None else len(units.unique())
    num_ranked = torch.full((num_queries,), size)
    if search.excluded is not None:
        queries, excluded_rows = search.excluded.queries.cpu(), search.excluded.rows.cpu()
        if units is not None:
            queries, _ = _lost_units(queries, excluded_rows, units)
        num_ranked.index_add_(0, queries, torch.ones_like(queries), alpha=-1)
    if isinstance(task.relevance, CodeRelevance):
        codes = EqualCodes.from_relevance(task.relevance, search.excluded, units)
        return Judgment(codes.hits(rows), None, codes.relevant, num_ranked, None, codes.known)
    if units is not None:
        raise ConfigError(
            f"retrieval.by=product: the task {task.name} judges items by a list or by grades, "
            "which are not defined for products: leave it out"
        )
    return _graded_judgments(task.relevance, search.excluded, rows, num_ranked)


def _first_of_each(keys: Tensor, among: Tensor) -> Tensor:
    """Mark the first of the equal keys among some: (N,) long and (N,) bool -> (N,) bool."""
    ordered, order = keys.sort(stable=True)
    order = order[among[order]]
    ordered = keys[order]
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    marked = torch.zeros_like(among)
    marked[order[is_new]] = True
    return marked


def _lost_units(queries: Tensor, rows: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Find the units of which every item is excluded from a query's ranking.

    Args:
        queries: (E,) long queries of the excluded pairs.
        rows: (E,) long items of the excluded pairs.
        keys: (N,) long: equal for the items of one unit.

    Returns:
        (L,) queries, ascending, and (L,) an item of each unit.
    """
    unit, sizes = keys.unique(return_inverse=True, return_counts=True)[1:]
    if not len(queries):
        return queries, rows
    pairs, inverse, counts = (queries * len(sizes) + unit[rows]).unique(
        return_inverse=True, return_counts=True
    )
    an_item = torch.empty_like(pairs).scatter_(0, inverse, rows)
    lost = counts == sizes[pairs % len(sizes)]
    return pairs[lost] // len(sizes), an_item[lost]


def _graded_judgments(
    relevance: Relevance, excluded: Excluded | None, rows: Tensor, num_ranked: Tensor
) -> Judgment:
    queries, k = torch.arange(len(rows)), rows.shape[1]
    gains = relevance.gains(queries, rows).masked_fill(rows < 0, 0.0)
    relevant, ideal = relevance.ideal(k)
    if excluded is not None:
        of_query, removed = excluded.queries.cpu(), excluded.rows.cpu()
        lost = relevance.gains(of_query, removed[:, None])[:, 0] >= relevance.least_gain
        relevant = relevant.index_add(0, of_query, lost.long(), alpha=-1)
        ideal = torch.minimum(ideal, (torch.arange(k) < relevant[:, None]).double())
    known = torch.ones(len(rows), dtype=torch.bool)
    return Judgment(gains >= relevance.least_gain, gains, relevant, num_ranked, ideal, known)
