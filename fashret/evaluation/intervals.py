"""Widen intervals to new products: the sampling error of the queries and of the gallery."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.judgments import EqualCodes
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
"""Random splits to estimate a design effect: 100 give its square root to 7 %, 50 to 10 %."""

_SPLIT_QUERIES = 400_000
"""Queries times splits, at most: the design effect of a large set needs fewer splits."""

_AT_ONCE = 8_192
"""Queries times splits that are computed together, for the speed of small sets."""

FIXED_GALLERY = 10
"""The ratio of gallery items to queries from which the gallery counts as fixed."""


def product_units(search: Search) -> tuple[Tensor, Tensor]:
    """Number the products of the queries (Q,) and of the gallery items (N,) from 0.

    An item without a product id is a product of its own.

    Args:
        search: a search whose queries are all in its gallery.
    """
    assert search.gallery_groups is not None
    groups = search.gallery_groups
    singleton_id = int(groups.max().clamp(min=0)) + 1 + torch.arange(len(groups))
    of_item = torch.where(groups == UNKNOWN, singleton_id, groups).unique(return_inverse=True)[1]
    position = np.searchsorted(search.gallery_rows, search.query_rows)
    return of_item[torch.from_numpy(position)], of_item


def is_self_search(search: Search) -> bool:
    """Return whether the queries are part of the gallery, so that new products change both.

    False for a fixed gallery: one that the queries are not part of, or that has at least
    `FIXED_GALLERY` times as many items as there are queries.
    """
    if search.gallery_groups is None:
        return False
    if len(search.gallery_rows) >= FIXED_GALLERY * len(search.query_rows):
        return False
    if not bool(np.isin(search.query_rows, search.gallery_rows).all()):
        return False
    return len(product_units(search)[0].unique()) >= 4


def list_depth(search: Search, k: int) -> int:
    """Return how deep rankings must be for intervals: k, or more if queries are in the gallery."""
    if not is_self_search(search):
        return k
    views = product_units(search)[1].bincount().double().quantile(0.95)
    depth = depth_for_halves(k, min(int(views), 50))
    return max(k, min(depth, len(search.gallery_rows)))


def largest_k(plan: Plan, search: str) -> int:
    """Return the largest cut-off k of a search's tasks; 1 if all metrics use the full ranking."""
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
    """Return the design effect of each metric: its variance over that of the queries alone.

    The factor is 1 for a fixed gallery, for a metric that is not one of
    `functional.retrieval.METRICS`, and for a metric of the full ranking.

    Args:
        plan: the searches and tasks.
        lists: by search, the (Q, L) rankings of one system, or those of two systems for their
            difference; at least `list_depth` columns.
        keys: keys of metrics, slices and macro means.

    Returns:
        The factor by key.
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
    alike: dict[int, list[str]] = {}  # searches of the same queries share their random splits
    for name in together:
        if is_self_search(plan.searches[name]):
            alike.setdefault(id(plan.searches[name].query_rows), []).append(name)
    for names in alike.values():
        for name in names:
            needed = list_depth(plan.searches[name], largest_k(plan, name))
            depths = [by_search[name].shape[1] for by_search in lists]
            assert min(depths) >= needed, f"{name} rankings have {depths} of {needed} columns"
        effects = _design_effects(
            plan,
            {name: [by_search[name] for by_search in lists] for name in names},
            {name: list(wanted[name]) for name in names},
        )
        for name in names:
            for task, requested in wanted[name].items():
                for key, metric, value in requested:
                    factors[key] = effects.get(task, {}).get(metric, {}).get(value, 1.0)
    return factors


def _design_effects(
    plan: Plan,
    lists: Mapping[str, Sequence[Tensor]],
    tasks: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Estimate the design effects of the tasks of searches that share their queries.

    Args:
        plan: the searches and tasks.
        lists: (Q, L) rankings by search, of one system, or of two systems for their difference.
        tasks: the names of the tasks, by search.

    Returns:
        By task and metric: the factor of the metric under "", of each slice under its value, and
        of the mean over the values under "macro"; each includes the correction for few products
        (`small_sample_factor`). Tasks whose relevance is not equality of codes are omitted.
    """
    by_name = {task.name: task for task in plan.tasks}
    codes_by_search: dict[str, dict[str, EqualCodes]] = {}
    for search, names in tasks.items():
        excluded, units = plan.searches[search].excluded, plan.searches[search].units
        codes_by_search[search] = {
            name: EqualCodes.from_relevance(relevance, excluded, units)
            for name in names
            if isinstance(relevance := by_name[name].relevance, CodeRelevance)
        }
    codes_by_search = {s: by_task for s, by_task in codes_by_search.items() if by_task}
    cuts = [
        int(metric.partition("@")[2])
        for by_task_codes in codes_by_search.values()
        for name in by_task_codes
        for metric in by_name[name].metrics
        if "@" in metric
    ]
    if not cuts:
        return {}
    ks = torch.tensor(list(dict.fromkeys(cuts)))
    metrics = [f"{metric}@{k}" for metric in METRICS for k in ks.tolist()]
    sliced = plan.options.slice_metrics
    by_value = [i for i, metric in enumerate(metrics) if metric.split("@")[0] in sliced]
    of_query, of_item = product_units(plan.searches[next(iter(codes_by_search))])
    products = _Groups.from_products(of_query, None)
    values = {
        name: given
        for by_task_codes in codes_by_search.values()
        for name in by_task_codes
        if (given := by_name[name].values) is not None
    }
    grouped = {name: _Groups.from_products(of_query, given) for name, given in values.items()}
    whole = {
        search: DesignEffect(1, len(metrics) * len(by_task_codes))
        for search, by_task_codes in codes_by_search.items()
    }
    of_values = {name: DesignEffect(len(values[name][1]), len(by_value)) for name in grouped}
    counts = {
        search: [_Counts.from_codes(codes) for codes in by_task_codes.values()]
        for search, by_task_codes in codes_by_search.items()
    }
    hits = {
        search: [
            torch.stack([codes.hits(rows) for codes in by_task_codes.values()])
            for rows in lists[search]
        ]
        for search, by_task_codes in codes_by_search.items()
    }
    generator = torch.Generator().manual_seed(plan.options.seed)
    splits = min(MOST_SPLITS, max(FEWEST_SPLITS, _SPLIT_QUERIES // max(1, len(of_query))))
    at_once = max(1, _AT_ONCE // max(1, len(of_query)))
    num_products = int(max(of_query.max(), of_item.max())) + 1
    for begin in range(0, splits, at_once):
        drawn = range(begin, min(begin + at_once, splits))
        side = torch.stack([random_halves(num_products, generator) for _ in drawn])
        of_side, item_side = side[:, of_query], side[:, of_item]  # (S, Q) and (S, N)
        for search, by_task_codes in codes_by_search.items():
            relevant = torch.stack([count.within(of_side, item_side) for count in counts[search]])
            parts = [
                all_metrics(
                    _within_halves(rows, are_hits, of_side, item_side, int(ks.max())).flatten(0, 2),
                    relevant.flatten(),
                    ks,
                )
                for rows, are_hits in zip(lists[search], hits[search], strict=True)
            ]
            change = parts[0] if len(parts) == 1 else parts[0] - parts[1]  # (T S Q, 6 c)
            by_task = change.view(*relevant.shape, len(metrics))
            together = by_task.permute(1, 2, 0, 3).flatten(2)  # (S, Q, T 6 c)
            whole[search].add(together, products.group, products.cell, side[:, products.unit])
            for name, one in zip(by_task_codes, by_task, strict=True):
                if name in of_values:
                    groups = grouped[name]
                    of_values[name].add(
                        one[:, :, by_value], groups.group, groups.cell, side[:, groups.unit]
                    )
    factors: dict[str, dict[str, dict[str, float]]] = {}
    for search, by_task_codes in codes_by_search.items():
        table = whole[search].factor()[0].view(len(by_task_codes), len(metrics))
        for (name, codes), row in zip(by_task_codes.items(), table.tolist(), strict=True):
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


def _within_halves(
    rows: Tensor, are_hits: Tensor, of_side: Tensor, item_side: Tensor, k: int
) -> Tensor:
    """Which of the first k items within the query's half are relevant, split by split.

    Args:
        rows: (Q, L) long ranked items, -1 after the last one.
        are_hits: (T, Q, L) bool: whether each is relevant, by task.
        of_side: (S, Q) long: the half of each query in each split.
        item_side: (S, N) long: the half of each item.
        k: number of ranks.

    Returns:
        (T, S, Q, k) bool.
    """
    inside = (rows >= 0) & (item_side[:, rows.clamp(min=0)] == of_side[:, :, None])
    first = first_within(inside.flatten(0, 1), k).view(*of_side.shape, k)
    shape = (len(are_hits), *first.shape)
    every = are_hits[:, None].expand(*shape[:3], rows.shape[1])
    return every.gather(3, first.clamp(min=0).expand(shape)) & (first >= 0)


def _products(of_query: Tensor, counted: Tensor) -> int:
    """The number of products among the counted queries, at least 2."""
    return max(2, len(of_query[counted].unique()))


class _Groups(NamedTuple):
    """Sampling units: the group of each query (Q,), and the cell and product of each group."""

    group: Tensor
    cell: Tensor
    unit: Tensor

    @classmethod
    def from_products(cls, of_query: Tensor, sliced: tuple[Tensor, list[str]] | None) -> "_Groups":
        """Group queries by product, or by product and value."""
        codes = torch.zeros_like(of_query) if sliced is None else sliced[0]
        num_codes = int(codes.max().clamp(min=0)) + 1
        known = codes != UNKNOWN
        pairs, inverse = (of_query * num_codes + codes)[known].unique(return_inverse=True)
        group = torch.full_like(of_query, -1)
        group[known] = inverse
        return cls(group, pairs % num_codes, pairs // num_codes)


class _Counts(NamedTuple):
    """Counts the relevant items of each query within its half of a random split.

    Attributes:
        known: (Q,) bool: whether the query has a known code.
        query: (Q,) long codes of the queries; 0 for an unknown one.
        item: (n,) long codes of the items that count.
        counted: (N,) bool: the items that count, see `EqualCodes`.
        excluded: relevant items that are excluded from single queries' rankings; a copy of a
            query's photo under another product may be in the other half.
        size: the number of distinct codes.
    """

    known: Tensor
    query: Tensor
    item: Tensor
    counted: Tensor
    excluded: Excluded | None
    size: int

    @classmethod
    def from_codes(cls, codes: EqualCodes) -> "_Counts":
        """Prepare what all random splits share."""
        size = 1 + int(max(codes.query.max(), codes.item.max(), torch.tensor(0)))
        item, query = codes.item[codes.counted], codes.query.clamp(min=0)
        return cls(codes.known, query, item, codes.counted, codes.excluded, size)

    def within(self, of_side: Tensor, item_side: Tensor) -> Tensor:
        """The number of relevant items in the query's half; 0 for a query with an unknown code.

        Args:
            of_side: (S, Q) long: the half of each query in each of S splits.
            item_side: (S, N) long: the half of each item.

        Returns:
            (S, Q) long.
        """
        splits = len(of_side)
        start = torch.arange(splits)[:, None] * (2 * self.size)
        cells = start + self.item * 2 + item_side[:, self.counted]
        half = torch.bincount(cells.flatten(), minlength=splits * 2 * self.size)
        left = half[start + self.query * 2 + of_side]
        if self.excluded is not None:
            queries, rows = self.excluded
            together = (item_side[:, rows] == of_side[:, queries]).long()
            left.index_add_(1, queries, together, alpha=-1)
        return torch.where(self.known, left, 0).clamp(min=0)
