"""The queries, gallery, exclusions and ground truth of the evaluation of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import ConfigError
from fashret.evaluation.judged import JudgedSearch
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.plan import KEY_NAMES
from fashret.functional.relevance import CodeRelevance
from fashret.functional.retrieval import METRICS
from fashret.functional.topk import Excluded
from fashret.functional.units import units_of
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN, JudgedQueries

MODES = ("image", "text", "fused")
"""The query modes: a photo, a text, or both fused."""


def relevances_of(mode: str) -> tuple[str, ...]:
    """Return the kinds of relevance of a query mode, besides the category and attributes."""
    return ("product", "pair") if mode == "text" else ("product",)


@dataclass(frozen=True)
class SplitSearch:
    """The plan of a split's scoreboard: its items query a gallery by photo, by text and by both.

    Attributes:
        split: the split of the queries.
        options: the options of the evaluation.
        queries: (Q,) rows of the item table, ascending.
        gallery: (N,) rows of the item table, ascending.
        codes: the codes of the item table.
        described: the kinds of relevance that are values: the category and the attributes.
        photos: a code of the photo of each row of the item table, equal for copies of one photo;
            None to treat every photo as distinct, as published benchmarks do.
        judged: the judged queries that are not items, by the name of their search: typed texts
            (search_log), composed queries (composed).
        modes: the query modes; photos alone for a model that reads no text.
    """

    split: str
    options: RetrievalOptions
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    codes: ItemCodes
    described: tuple[str, ...]
    photos: NDArray[np.int64] | None = None
    judged: Mapping[str, JudgedSearch] = field(default_factory=dict)
    modes: Sequence[str] = MODES

    @classmethod
    def from_table(
        cls,
        table: ItemTable,
        codes: ItemCodes,
        split: str,
        options: RetrievalOptions,
        judged: Mapping[str, JudgedQueries] | None = None,
        *,
        modes: Sequence[str] = MODES,
    ) -> "SplitSearch":
        """Choose the queries and the gallery of a split.

        The gallery is the split itself, or `options.catalog_splits`. Where the item table has a
        column `role`, its queries and gallery are used.

        Args:
            table: the items.
            codes: the codes of the table.
            split: the split of the queries.
            options: the options of the evaluation.
            judged: the judged queries of the data by task: search_log, composed.
            modes: the query modes.

        Raises:
            ConfigError: the data has no such split.
        """
        gallery_splits = tuple(options.catalog_splits or (split,))
        for name in (split, *gallery_splits):
            if name not in table.splits:
                raise ConfigError(
                    f"the data has no split '{name}'; its splits are {', '.join(table.splits)}"
                )
        queries = table.rows(split)
        gallery = np.sort(
            np.concatenate([table.rows(name) for name in dict.fromkeys(gallery_splits)])
        )
        photos: NDArray[np.int64] | None = table.photo_codes
        if "role" in table.dataset.column_names:
            roles = np.array([str(role) for role in table.column("role")])
            if "query" in roles[queries]:  # a split that was taken from train has no roles
                queries, photos = queries[roles[queries] == "query"], None
            if "gallery" in roles[gallery]:
                gallery, photos = gallery[roles[gallery] == "gallery"], None
        rng = np.random.default_rng(options.seed)
        if options.max_items is not None and options.max_items < len(gallery):
            gallery = _stratified_sample(gallery, options.max_items, codes, rng)
            inside = queries[np.isin(queries, gallery)]  # so that the gallery holds their matches
            queries = inside if len(inside) else queries
        if options.max_queries is not None and options.max_queries < len(queries):
            queries = _stratified_sample(queries, options.max_queries, codes, rng)
        searches = {}
        for task, all_queries in (judged or {}).items():
            found = all_queries.within(split, torch.from_numpy(gallery))
            if options.max_queries is not None and options.max_queries < len(found):
                some = rng.choice(len(found), options.max_queries, replace=False)
                found = found.some(torch.from_numpy(np.sort(some)))
            if len(found):
                searches[task] = JudgedSearch(task, found)
        return cls(
            split,
            options,
            queries,
            gallery,
            codes,
            table.categorical_columns,
            photos,
            searches,
            modes,
        )

    @property
    def prefix(self) -> str:
        """The prefix of every metric key: train, val or test."""
        return KEY_NAMES[self.split]

    @cached_property
    def searches(self) -> Mapping[str, Search]:
        """The search of each query mode: image, text, fused."""
        product = self.codes.product
        groups = product[torch.from_numpy(self.queries)]
        gallery_groups = product[torch.from_numpy(self.gallery)]
        excluded = self._excluded()
        modes = {
            mode: Search(
                name=mode,
                query_rows=self.queries,
                gallery_rows=self.gallery,
                groups=groups,
                gallery_groups=gallery_groups,
                units=units_of(gallery_groups) if self.options.by == "product" else None,
                excluded=None if mode == "text" else excluded,
            )
            for mode in self.modes
        }
        return modes | {
            name: judged.search(self.gallery, name=name) for name, judged in self.judged.items()
        }

    @cached_property
    def tasks(self) -> Sequence[Task]:
        """The task of each query mode and relevance: image/product, text/pair, ..."""
        names = (*METRICS, *self.options.metrics)
        metrics = [f"{name}@{k}" for name in names for k in self.options.k]
        k = max(self.options.k)
        has_text = self.relevance_codes("pair")[0] != UNKNOWN
        tasks = []
        for mode in self.modes:
            for relevance in self.relevances(mode):
                of_query, of_item = self.relevance_codes(relevance)
                if mode == "text":  # an item without text is no text query
                    of_query = torch.where(has_text, of_query, UNKNOWN)
                described = relevance in self.described
                shown = mode == "image" or (mode, relevance) == ("text", "pair")
                custom = [f"{name}@{k}" for name in self.options.metrics if shown]
                tasks.append(
                    Task(
                        name=f"{mode}/{relevance}",
                        search=mode,
                        relevance=CodeRelevance(of_query, of_item),
                        metrics=metrics,
                        headlines=[f"{'precision' if described else 'hit'}@{k}", *custom],
                        values=self._values(relevance) if described else None,
                    )
                )
        for name, judged in self.judged.items():
            tasks.append(
                judged.task(
                    self.gallery,
                    name=judged.task_name,
                    search=name,
                    metrics=[f"{one}@{k}" for one in (*names, "map_cut") for k in self.options.k],
                    headlines=[f"ndcg@{k}" if judged.name == "text" else f"hit@{k}"],
                )
            )
        return tasks

    @property
    def rows(self) -> NDArray[np.int64]:
        """(n,) rows of the item table that have to be embedded: queries and gallery, ascending.

        The reference photos of composed queries are in the gallery.
        """
        return np.union1d(self.queries, self.gallery)

    def _values(self, relevance: str) -> tuple[Tensor, list[str]]:
        """The (Q,) codes of the queries' values of the category or an attribute, and the values."""
        return self.relevance_codes(relevance)[0], self.codes.labels[relevance][1]

    def _excluded(self) -> Excluded | None:
        """The gallery positions that are excluded from the ranking of each photo query."""
        if self.options.exclude == "none":
            return None
        products = self.codes.product.numpy()
        singleton_id = np.arange(len(products))
        pairs = self._equal_pairs(singleton_id if self.photos is None else self.photos)
        if self.options.exclude == "product":
            unknown = products == UNKNOWN
            groups = np.where(unknown, products.max(initial=0) + 1 + singleton_id, products)
            pairs = np.union1d(pairs, self._equal_pairs(groups))
        queries, rows = np.divmod(pairs, len(self.gallery))
        return Excluded(torch.from_numpy(queries), torch.from_numpy(rows))

    def relevances(self, mode: str) -> tuple[str, ...]:
        """Return all kinds of relevance of a query mode: product, pair, category, attributes."""
        return (*relevances_of(mode), *self.described)

    def relevance_codes(self, relevance: str) -> tuple[Tensor, Tensor]:
        """Return (Q,) and (N,) codes; an item is relevant to a query if both are known and equal.

        Args:
            relevance: product, pair (the same caption), category, or the name of an attribute.
        """
        if relevance == "product":
            codes = self.codes.product
        elif relevance == "pair":
            codes = self.codes.caption
        else:
            codes = self.codes.labels[relevance][0]
        return codes[torch.from_numpy(self.queries)], codes[torch.from_numpy(self.gallery)]

    def _equal_pairs(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pairs of a query and a gallery item with equal codes, each as query * N + item.

        Args:
            codes: one code for each row of the item table.
        """
        order = np.argsort(codes[self.gallery], kind="stable")
        ordered = codes[self.gallery][order]
        first = np.searchsorted(ordered, codes[self.queries], side="left")
        last = np.searchsorted(ordered, codes[self.queries], side="right")
        counts = last - first
        queries = np.repeat(np.arange(len(self.queries)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        rows = order[np.repeat(first, counts) + offsets]
        pairs: NDArray[np.int64] = queries * len(self.gallery) + rows
        return pairs


def _stratified_sample(
    rows: NDArray[np.int64], count: int, codes: ItemCodes, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw `count` of the rows, stratified by category; ascending."""
    shuffled = rng.permutation(rows)
    category = codes.labels["category"][0].numpy()[shuffled]
    by_category = shuffled[np.argsort(category, kind="stable")]
    positions = (np.arange(count) + rng.random()) * len(rows) / count
    return np.sort(by_category[positions.astype(int)])
