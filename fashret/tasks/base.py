"""A task: what asks, what is searched, what is relevant, and which metrics count it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.functional.relevance import Relevance
from fashret.functional.topk import Excluded

NO_ROW = -1
"""The row of a query that is not an item, such as a typed text."""


@dataclass(frozen=True, eq=False)
class Search:
    """Queries and the gallery that they search.

    Attributes:
        name: what keys and pages call it, such as image, text or fused.
        query_rows: (Q,) rows of the item table, `NO_ROW` for a query that is not an item.
        gallery_rows: (N,) rows of the item table, ascending.
        groups: (Q,) long: queries with an equal code (of one product) are one unit for intervals;
            UNKNOWN is a unit of its own.
        gallery_groups: (N,) long: codes of the gallery's items, where new products would bring a
            new gallery as well; None where the gallery is fixed.
        excluded: gallery positions that single queries must not find; None for none.
        query_names: (Q,) what tables call the queries; None for the items' ids.
    """

    name: str
    query_rows: NDArray[np.int64]
    gallery_rows: NDArray[np.int64]
    groups: Tensor
    gallery_groups: Tensor | None = None
    excluded: Excluded | None = None
    query_names: Sequence[str] | None = None

    def subset(self, queries: NDArray[np.int64]) -> "Search":
        """The same gallery, searched by some of the queries.

        Args:
            queries: (q,) positions, ascending.
        """
        names, excluded = self.query_names, self.excluded
        if excluded is not None:
            asked = excluded.queries.cpu().numpy()
            kept = np.isin(asked, queries)
            position = torch.from_numpy(np.searchsorted(queries, asked[kept]))
            excluded = Excluded(position, excluded.rows[torch.from_numpy(kept)])
        return replace(
            self,
            query_rows=self.query_rows[queries],
            groups=self.groups[torch.from_numpy(queries)],
            excluded=excluded,
            query_names=None if names is None else [names[i] for i in queries],
        )


@dataclass(frozen=True, eq=False)
class Task:
    """What is relevant to the queries of a search, and how it is counted.

    Attributes:
        name: the task's part of a metric's key, such as image/product.
        search: the name of its search.
        relevance: how right each gallery item is for each query.
        metrics: such as hit@10 or ndcg@5; `map` and `rprecision` are of the whole ranking.
        headlines: those that a scoreboard shows.
        values: (Q,) codes of the queries' own values and the values' names, where metrics are also
            given by value; None for none.
        zero_without_answer: whether a query without a relevant item counts as 0; else it does not
            count.
        notes: what a reader of its numbers should know.
    """

    name: str
    search: str
    relevance: Relevance
    metrics: Sequence[str]
    headlines: Sequence[str]
    values: tuple[Tensor, list[str]] | None = None
    zero_without_answer: bool = False
    notes: Sequence[str] = field(default_factory=tuple)

    def subset(self, queries: NDArray[np.int64]) -> "Task":
        """The same task for some of its queries; see `Search.subset`."""
        chosen = torch.from_numpy(queries)
        values = None if self.values is None else (self.values[0][chosen], self.values[1])
        return replace(self, relevance=self.relevance.subset(chosen), values=values)
