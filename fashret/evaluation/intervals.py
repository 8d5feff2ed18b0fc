"""Intervals of metrics for new products: of queries and of what they search."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.judging import EqualCodes
from fashret.evaluation.plan import Plan, task_of
from fashret.functional.relevance import CodeRelevance
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
from fashret.tasks.base import Search
from fashret.types import UNKNOWN

MACRO = "macro"

MOST_SPLITS, FEWEST_SPLITS = 100, 50
"""Random splits behind a design effect: 100 leave its square root uncertain by 7 %, 50 by 10 %."""

_SPLIT_QUERIES = 400_000
"""Queries times splits: a large set, whose design effect varies less, has fewer splits."""

FIXED_GALLERY = 10
"""A gallery of so many times more items than there are queries adds nothing to speak of."""


def units(search: Search) -> tuple[Tensor, Tensor]:
    """The products of queries (Q,) and gallery items (N,) as codes from 0.

    An item without a product id is a product of its own.

    Args:
        search: of queries that are a part of the gallery, which is ascending.
    """
    assert search.gallery_groups is not None
    own = search.gallery_groups
    alone = int(own.max().clamp(min=0)) + 1 + torch.arange(len(own))
    of_item = torch.where(own == UNKNOWN, alone, own).unique(return_inverse=True)[1]
    place = np.searchsorted(search.gallery_rows, search.query_rows)
    return of_item[torch.from_numpy(place)], of_item


def search_one_another(search: Search) -> bool:
    """Tell whether a new set of products would bring new queries and a new gallery.

    False where queries search a gallery that they are not a part of, which is a fixed one, or that
    is very much larger than they are.
    """
    if search.gallery_groups is None:
        return False
    if len(search.gallery_rows) >= FIXED_GALLERY * len(search.query_rows):
        return False
    if not bool(np.isin(search.query_rows, search.gallery_rows).all()):
        return False
    return len(units(search)[0].unique()) >= 4


def list_depth(search: Search, k: int) -> int:
    """How many rows of a ranking intervals need: more than k where queries search one another."""
    if not search_one_another(search):
        return k
    views = units(search)[1].bincount().double().quantile(0.95)
    depth = depth_for_halves(k, min(int(views), 50))
    return max(k, min(depth, len(search.gallery_rows)))


def largest_k(plan: Plan, search: str) -> int:
    """The largest cut-off of the tasks of a search; 1 where all are of the whole ranking."""
    cuts = [
        int(metric.partition("@")[2])
        for task in plan.tasks
        if task.search == search
        for metric in task.metrics
        if "@" in metric
    ]
    return max(cuts, default=1)


def variance_factors(
    plan: Plan, lists: Sequence[Mapping[str, Tensor]], keys: Sequence[str]
) -> dict[str, float]:
    """By how much the variance of metrics exceeds that of their queries alone.

    It is 1 where queries search a fixed gallery, and for a metric that is not one of
    `functional.retrieval.METRICS`, or is of whole rankings.

    Args:
        plan: who searched what.
        lists: of one system, or of two whose difference is meant: the (Q, L) rankings of each
            search, of at least `list_depth` columns.
        keys: of metrics, slices and macro means.
    """
    factors = dict.fromkeys(keys, 1.0)
    if not all(lists):
        return factors
    wanted: dict[str, dict[str, list[tuple[str, str, str]]]] = {}
    searches = {task.name: task.search for task in plan.tasks}
    for key in keys:
        task, metric, value = task_of(plan, key)
        wanted.setdefault(searches[task], {}).setdefault(task, []).append((key, metric, value))
    together = [name for name in plan.searches if name in wanted]
    alike: dict[int, list[str]] = {}  # searches of the same queries are split alike
    for name in together:
        if search_one_another(plan.searches[name]):
            alike.setdefault(id(plan.searches[name].query_rows), []).append(name)
    for names in alike.values():
        for name in names:
            needed = list_depth(plan.searches[name], largest_k(plan, name))
            depths = [by_search[name].shape[1] for by_search in lists]
            assert min(depths) >= needed, f"{name} rankings have {depths} of {needed} columns"
        found = _design_effects(
            plan,
            {name: [by_search[name] for by_search in lists] for name in names},
            {name: list(wanted[name]) for name in names},
        )
        for name in names:
            for task, asked in wanted[name].items():
                for key, metric, value in asked:
                    factors[key] = found.get(task, {}).get(metric, {}).get(value, 1.0)
    return factors


def _design_effects(
    plan: Plan,
    lists: Mapping[str, Sequence[Tensor]],
    tasks: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, dict[str, float]]]:
    """By how much the variance of metrics exceeds that of the queries alone.

    Args:
        plan: who searched what.
        lists: (Q, L) rankings by search, of one system, or of two whose difference is asked for;
            all searches are of the same queries.
        tasks: the names of the tasks in question, by search.

    Returns:
        By task and metric: the factor of the whole metric under "", that of each slice under its
        value, that of the mean over the values under "macro"; each with what few products add
        (`small_sample_factor`). Tasks that are not of equal codes are left out.
    """
    by_name = {task.name: task for task in plan.tasks}
    judged: dict[str, dict[str, EqualCodes]] = {}
    for search, names in tasks.items():
        excluded = plan.searches[search].excluded
        judged[search] = {
            name: EqualCodes.from_relevance(relevance, excluded)
            for name in names
            if isinstance(relevance := by_name[name].relevance, CodeRelevance)
        }
    judged = {search: found for search, found in judged.items() if found}
    cuts = [
        int(metric.partition("@")[2])
        for found in judged.values()
        for name in found
        for metric in by_name[name].metrics
        if "@" in metric
    ]
    if not cuts:
        return {}
    ks = torch.tensor(list(dict.fromkeys(cuts)))
    metrics = [f"{metric}@{k}" for metric in METRICS for k in ks.tolist()]
    sliced = plan.options.slice_metrics
    by_value = [i for i, metric in enumerate(metrics) if metric.split("@")[0] in sliced]
    of_query, of_item = units(plan.searches[next(iter(judged))])
    products = _Groups.over(of_query, None)
    values = {
        name: given
        for found in judged.values()
        for name in found
        if (given := by_name[name].values) is not None
    }
    grouped = {name: _Groups.over(of_query, given) for name, given in values.items()}
    whole = {search: DesignEffect(1, len(metrics) * len(found)) for search, found in judged.items()}
    of_values = {name: DesignEffect(len(values[name][1]), len(by_value)) for name in grouped}
    counts = {
        search: [_Counts.of(codes) for codes in found.values()] for search, found in judged.items()
    }
    generator = torch.Generator().manual_seed(plan.options.seed)
    splits = min(MOST_SPLITS, max(FEWEST_SPLITS, _SPLIT_QUERIES // max(1, len(of_query))))
    for _ in range(splits):
        side = random_halves(int(max(of_query.max(), of_item.max())) + 1, generator)
        of_side, item_side = side[of_query], side[of_item]
        for search, found in judged.items():
            relevant = torch.cat([count.within(of_side, item_side) for count in counts[search]])
            parts = []
            for rows in lists[search]:
                inside = (rows >= 0) & (item_side[rows.clamp(min=0)] == of_side[:, None])
                first = first_within(rows, inside, int(ks.max()))
                hits = torch.cat([codes.hits(first) for codes in found.values()])
                parts.append(all_metrics(hits, relevant, ks))
            change = parts[0] if len(parts) == 1 else parts[0] - parts[1]  # (T Q, 6 c)
            by_task = change.view(len(found), len(of_query), len(metrics))
            together = by_task.transpose(0, 1).flatten(1)  # (Q, T 6 c)
            whole[search].add(together, products.group, products.cell, side[products.unit])
            for name, one in zip(found, by_task, strict=True):
                if name in of_values:
                    groups = grouped[name]
                    of_values[name].add(
                        one[:, by_value], groups.group, groups.cell, side[groups.unit]
                    )
    factors: dict[str, dict[str, dict[str, float]]] = {}
    for search, found in judged.items():
        table = whole[search].factor()[0].view(len(found), len(metrics))
        for (name, codes), row in zip(found.items(), table.tolist(), strict=True):
            more = small_sample_factor(_products(of_query, codes.relevant > 0))
            factors[name] = {m: {"": factor * more} for m, factor in zip(metrics, row, strict=True)}
            if name not in of_values:
                continue
            of_code, labels = values[name]
            counted = codes.relevant > 0
            numbers = [_products(of_query, counted & (of_code == v)) for v in range(len(labels))]
            numbers.append(_products(of_query, counted))
            effects = of_values[name].factor().tolist()
            for value, number, row in zip([*labels, MACRO], numbers, effects, strict=True):
                more = small_sample_factor(number)
                for column, factor in zip(by_value, row, strict=True):
                    factors[name][metrics[column]][value] = factor * more
    return factors


def _products(of_query: Tensor, counted: Tensor) -> int:
    """How many products the counted queries are of, at least 2."""
    return max(2, len(of_query[counted].unique()))


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
    def of(cls, right: EqualCodes) -> "_Counts":
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
