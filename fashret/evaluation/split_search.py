"""Who searches what: the queries and the catalog of one evaluation, and how they relate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import ConfigError
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.plan import KEY_NAMES
from fashret.functional.relevance import CodeRelevance
from fashret.functional.retrieval import METRICS
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN

MODES = ("image", "text", "fused")
"""What a query is made of."""


def relevances_of(mode: str) -> tuple[str, ...]:
    """What makes an item relevant to a query of a mode, beside the category and attributes."""
    return ("product", "pair") if mode == "text" else ("product",)


@dataclass(frozen=True)
class SplitSearch:
    """The scoreboard of a split: its items search one another, by photo, by text and by both.

    Attributes:
        split: whose queries.
        options: how they are judged.
        queries: (Q,) rows of the item table, ascending.
        catalog: (N,) rows of the item table, ascending.
        codes: of the item table.
        described: the relevances that are values: the category and the attributes.
        photos: a code of the photo of each row of the item table, equal for copies of one photo;
            None where each counts as a photo of its own, as official protocols have it.
    """

    split: str
    options: RetrievalOptions
    queries: NDArray[np.int64]
    catalog: NDArray[np.int64]
    codes: ItemCodes
    described: tuple[str, ...]
    photos: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls, table: ItemTable, codes: ItemCodes, split: str, options: RetrievalOptions
    ) -> "SplitSearch":
        """The default protocol: a split searches itself, or `catalog_splits`; roles decide.

        Raises:
            ConfigError: a split has no items.
        """
        sought = tuple(options.catalog_splits or (split,))
        for name in (split, *sought):
            if name not in table.splits:
                raise ConfigError(f"the data has no split {name}; it has {', '.join(table.splits)}")
        queries = table.rows(split)
        catalog = np.sort(np.concatenate([table.rows(name) for name in dict.fromkeys(sought)]))
        photos: NDArray[np.int64] | None = table.photo_codes
        if "role" in table.dataset.column_names:
            roles = np.array([str(role) for role in table.column("role")])
            if "query" in roles[queries]:  # a split that was taken from train has no roles
                queries, photos = queries[roles[queries] == "query"], None
            if "gallery" in roles[catalog]:
                catalog, photos = catalog[roles[catalog] == "gallery"], None
        rng = np.random.default_rng(options.seed)
        if options.max_items is not None and options.max_items < len(catalog):
            catalog = _sample(catalog, options.max_items, codes, rng)
            inside = queries[np.isin(queries, catalog)]  # a query's matches are then searched too
            queries = inside if len(inside) else queries
        if options.max_queries is not None and options.max_queries < len(queries):
            queries = _sample(queries, options.max_queries, codes, rng)
        return cls(split, options, queries, catalog, codes, table.categorical_columns, photos)

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return KEY_NAMES[self.split]

    @cached_property
    def searches(self) -> Mapping[str, Search]:
        """A search for each mode."""
        product = self.codes.product
        groups = product[torch.from_numpy(self.queries)]
        gallery_groups = product[torch.from_numpy(self.catalog)]
        excluded = self._excluded()
        return {
            mode: Search(
                name=mode,
                query_rows=self.queries,
                gallery_rows=self.catalog,
                groups=groups,
                gallery_groups=gallery_groups,
                excluded=None if mode == "text" else excluded,
            )
            for mode in MODES
        }

    @cached_property
    def tasks(self) -> Sequence[Task]:
        """A task for each mode and relevance: image/product, text/pair, fused/category, ..."""
        names = (*METRICS, *self.options.metrics)
        metrics = [f"{name}@{k}" for name in names for k in self.options.k]
        k = max(self.options.k)
        has_text = self.relevance_codes("pair")[0] != UNKNOWN
        tasks = []
        for mode in MODES:
            for relevance in self.relevances(mode):
                of_query, of_item = self.relevance_codes(relevance)
                if mode == "text":  # an item without text is no text query
                    of_query = torch.where(has_text, of_query, UNKNOWN)
                described = relevance in self.described
                shown = mode == "image" or (mode, relevance) == ("text", "pair")
                own = [f"{name}@{k}" for name in self.options.metrics if shown]
                tasks.append(
                    Task(
                        name=f"{mode}/{relevance}",
                        search=mode,
                        relevance=CodeRelevance(of_query, of_item),
                        metrics=metrics,
                        headlines=[f"{'precision' if described else 'hit'}@{k}", *own],
                        values=self._values(relevance) if described else None,
                    )
                )
        return tasks

    @property
    def rows(self) -> NDArray[np.int64]:
        """Every row that has to be embedded, ascending."""
        return np.union1d(self.queries, self.catalog)

    def _values(self, relevance: str) -> tuple[Tensor, list[str]]:
        """The queries' own values of the category or an attribute."""
        return self.relevance_codes(relevance)[0], self.codes.labels[relevance][1]

    def _excluded(self) -> Excluded | None:
        """What a photo must not find, as positions in queries and gallery."""
        if self.options.exclude == "none":
            return None
        products = self.codes.product.numpy()
        alone = np.arange(len(products))
        found = self._equal(alone if self.photos is None else self.photos)
        if self.options.exclude == "product":
            known = np.where(products == UNKNOWN, products.max(initial=0) + 1 + alone, products)
            found = np.union1d(found, self._equal(known))
        queries, rows = np.divmod(found, len(self.catalog))
        return Excluded(torch.from_numpy(queries), torch.from_numpy(rows))

    def relevances(self, mode: str) -> tuple[str, ...]:
        """What makes an item relevant to a query of a mode."""
        return (*relevances_of(mode), *self.described)

    def relevance_codes(self, relevance: str) -> tuple[Tensor, Tensor]:
        """(Q,) and (N,) codes: a query and an item match where both are known and equal."""
        if relevance == "product":
            codes = self.codes.product
        elif relevance == "pair":
            codes = self.codes.caption
        else:
            codes = self.codes.labels[relevance][0]
        return codes[torch.from_numpy(self.queries)], codes[torch.from_numpy(self.catalog)]

    def _equal(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pairs of a query and a catalog item of equal code, as query * catalog items + item.

        Args:
            codes: of the rows of the item table.
        """
        order = np.argsort(codes[self.catalog], kind="stable")
        ordered = codes[self.catalog][order]
        first = np.searchsorted(ordered, codes[self.queries], side="left")
        last = np.searchsorted(ordered, codes[self.queries], side="right")
        counts = last - first
        queries = np.repeat(np.arange(len(self.queries)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        rows = order[np.repeat(first, counts) + offsets]
        pairs: NDArray[np.int64] = queries * len(self.catalog) + rows
        return pairs


def _sample(
    rows: NDArray[np.int64], count: int, codes: ItemCodes, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Some of the rows, ascending: of each category as large a share as of all."""
    shuffled = rng.permutation(rows)
    category = codes.labels["category"][0].numpy()[shuffled]
    by_category = shuffled[np.argsort(category, kind="stable")]
    places = (np.arange(count) + rng.random()) * len(rows) / count
    return np.sort(by_category[places.astype(int)])
