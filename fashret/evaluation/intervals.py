"""Intervals of metrics for new products: of queries and of what they search."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.split_search import Protocol
from fashret.functional.retrieval import METRICS
from fashret.functional.split_half import (
    DesignEffect,
    all_metrics,
    depth_for_halves,
    first_within,
    random_halves,
    small_sample_factor,
)
from fashret.functional.topk import Excluded
from fashret.types import UNKNOWN

MACRO = "macro"

MOST_SPLITS, FEWEST_SPLITS = 100, 50
"""Random splits behind a design effect: 100 leave its square root uncertain by 7 %, 50 by 10 %."""

_SPLIT_QUERIES = 400_000
"""Queries times splits: a large set, whose design effect varies less, has fewer splits."""

FIXED_GALLERY = 10
"""A gallery of so many times more items than there are queries adds nothing to speak of."""


def units(protocol: Protocol) -> tuple[Tensor, Tensor]:
    """The products of queries (Q,) and catalog items (N,) as codes from 0.

    An item without a product id is a product of its own.
    """
    products = protocol.codes.product
    rows = torch.from_numpy(protocol.rows)
    own = products[rows]
    alone = int(own.max().clamp(min=0)) + 1 + torch.arange(len(rows))
    codes = torch.where(own == UNKNOWN, alone, own).unique(return_inverse=True)[1]
    places = (np.searchsorted(protocol.rows, part) for part in (protocol.queries, protocol.catalog))
    of_query, of_item = (codes[torch.from_numpy(place)] for place in places)
    return of_query, of_item


def search_one_another(protocol: Protocol) -> bool:
    """Whether a new set of products would bring new queries and a new gallery.

    False where queries search a gallery that they are not a part of, which is a fixed one, or that
    is very much larger than they are.
    """
    if len(protocol.catalog) >= FIXED_GALLERY * len(protocol.queries):
        return False
    if not bool(np.isin(protocol.queries, protocol.catalog).all()):
        return False
    return len(units(protocol)[0].unique()) >= 4


def list_depth(protocol: Protocol) -> int:
    """How many rows of a ranking intervals need: more than k where queries search one another."""
    k = max(protocol.options.k)
    if not search_one_another(protocol):
        return k
    views = units(protocol)[1].bincount().double().quantile(0.95)
    depth = depth_for_halves(k, min(int(views), 50))
    return max(k, min(depth, len(protocol.catalog)))


class Judged(NamedTuple):
    """What is right for the queries of a mode.

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


def design_effects(
    protocol: Protocol,
    lists: Sequence[Mapping[str, Tensor]],
    judged: Mapping[tuple[str, str], Judged],
    values: Mapping[tuple[str, str], tuple[Tensor, list[str]]],
) -> dict[str, dict[str, float]]:
    """By how much the variance of metrics exceeds that of the queries alone.

    Args:
        protocol: who searches what.
        lists: of one system, or of two whose difference is asked for: (Q, L) rankings by mode, of
            at least `list_depth` columns.
        judged: by mode and relevance, what is right.
        values: for those that are sliced by value, the code (Q,) of each query and the names.

    Returns:
        By `<mode>/<relevance>/<metric>@<k>`: the factor of the whole metric under "", that of each
        slice under its value, that of the mean over the values under "macro"; each with what few
        products add (`small_sample_factor`).
    """
    ks = torch.tensor(protocol.options.k)
    names = [f"{metric}@{k}" for metric in METRICS for k in protocol.options.k]
    by_value = [i for i, n in enumerate(names) if n.split("@")[0] in protocol.options.slice_metrics]
    of_query, of_item = units(protocol)
    products = _Groups.over(of_query, None)
    grouped = {key: _Groups.over(of_query, given) for key, given in values.items() if given}
    modes = list(dict.fromkeys(mode for mode, _ in judged))
    relevances = {mode: [key for key in judged if key[0] == mode] for mode in modes}
    whole = {mode: DesignEffect(1, len(names) * len(relevances[mode])) for mode in modes}
    sliced = {key: DesignEffect(len(values[key][1]), len(by_value)) for key in grouped}
    counts = {key: _Counts.of(right) for key, right in judged.items()}
    generator = torch.Generator().manual_seed(protocol.options.seed)
    splits = min(MOST_SPLITS, max(FEWEST_SPLITS, _SPLIT_QUERIES // max(1, len(of_query))))
    for _ in range(splits):
        side = random_halves(int(max(of_query.max(), of_item.max())) + 1, generator)
        of_side, item_side = side[of_query], side[of_item]
        for mode in modes:
            relevant = torch.cat(
                [counts[key].within(of_side, item_side) for key in relevances[mode]]
            )
            parts = []
            for by_mode in lists:
                rows = by_mode[mode]
                inside = (rows >= 0) & (item_side[rows.clamp(min=0)] == of_side[:, None])
                found = first_within(rows, inside, int(ks.max()))
                hits = torch.cat([hits_of(judged[key], found) for key in relevances[mode]])
                parts.append(all_metrics(hits, relevant, ks))
            change = parts[0] if len(parts) == 1 else parts[0] - parts[1]  # (R Q, 6 c)
            by_relevance = change.view(len(relevances[mode]), len(of_query), len(names))
            together = by_relevance.transpose(0, 1).flatten(1)  # (Q, R 6 c)
            whole[mode].add(together, products.group, products.cell, side[products.unit])
            for key, one in zip(relevances[mode], by_relevance, strict=True):
                if key in sliced:
                    groups = grouped[key]
                    sliced[key].add(one[:, by_value], groups.group, groups.cell, side[groups.unit])
    factors: dict[str, dict[str, float]] = {}
    for mode in modes:
        table = whole[mode].factor()[0].view(len(relevances[mode]), len(names))
        for key, row in zip(relevances[mode], table.tolist(), strict=True):
            more = small_sample_factor(_products(of_query, judged[key].relevant > 0))
            for name, factor in zip(names, row, strict=True):
                factors[f"{mode}/{key[1]}/{name}"] = {"": factor * more}
    for (mode, relevance), effect in sliced.items():
        codes, labels = values[mode, relevance]
        counted = judged[mode, relevance].relevant > 0
        numbers = [_products(of_query, counted & (codes == v)) for v in range(len(labels))]
        numbers.append(_products(of_query, counted))
        for value, number, row in zip(
            [*labels, MACRO], numbers, effect.factor().tolist(), strict=True
        ):
            more = small_sample_factor(number)
            for column, factor in zip(by_value, row, strict=True):
                factors[f"{mode}/{relevance}/{names[column]}"][value] = factor * more
    return factors


def _products(of_query: Tensor, counted: Tensor) -> int:
    """How many products the counted queries are of, at least 2."""
    return max(2, len(of_query[counted].unique()))


def hits_of(right: Judged, rows: Tensor) -> Tensor:
    """(Q, K) bool: which ranked rows are relevant to each query.

    Args:
        right: what is relevant.
        rows: (Q, K) positions in the catalog, -1 for none.
    """
    matched = right.item[rows.clamp(min=0)] == right.query[:, None]
    return matched & (rows >= 0) & right.known[:, None]


class _Groups(NamedTuple):
    """Queries that are one unit: group (Q,), and the cell and product of each group."""

    group: Tensor
    cell: Tensor
    unit: Tensor

    @classmethod
    def over(cls, of_query: Tensor, sliced: tuple[Tensor, list[str]] | None) -> "_Groups":
        """Products, or the queries of a product that have one value."""
        codes = torch.zeros_like(of_query) if sliced is None else sliced[0]
        number = int(codes.max().clamp(min=0)) + 1
        known = codes != UNKNOWN
        pairs, inverse = (of_query * number + codes)[known].unique(return_inverse=True)
        group = torch.full_like(of_query, -1)
        group[known] = inverse
        return cls(group, pairs % number, pairs // number)


class _Counts(NamedTuple):
    """What tells how many rows are relevant within a half.

    Attributes:
        known: (Q,) bool: the query counts.
        query: (Q,) codes, 0 where the query does not count.
        item: (n,) codes of the items that have one.
        has_code: (N,) bool: the items that have one.
        excluded: relevant rows that single queries must not find; a copy of a query's photo under
            another product may be in the other half.
        size: of the codes.
    """

    known: Tensor
    query: Tensor
    item: Tensor
    has_code: Tensor
    excluded: Excluded | None
    size: int

    @classmethod
    def of(cls, right: Judged) -> "_Counts":
        """Count once what all splits share."""
        size = 1 + int(max(right.query.max(), right.item.max(), torch.tensor(0)))
        has_code = right.item != UNKNOWN
        item, query = right.item[has_code], right.query.clamp(min=0)
        return cls(right.known, query, item, has_code, right.excluded, size)

    def within(self, of_side: Tensor, item_side: Tensor) -> Tensor:
        """(Q,) relevant rows in each query's own half; 0 for a query that does not count."""
        cells = self.item * 2 + item_side[self.has_code]
        half = torch.bincount(cells, minlength=2 * self.size)
        left = half[self.query * 2 + of_side]
        if self.excluded is not None:
            queries, rows = self.excluded
            left.index_add_(0, queries, (item_side[rows] == of_side[queries]).long(), alpha=-1)
        return torch.where(self.known, left, 0).clamp(min=0)
