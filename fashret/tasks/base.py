"""Searches (queries and their gallery) and tasks (relevance and metrics of a search)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.functional.relevance import Relevance
from fashret.functional.topk import Excluded

NO_ROW = -1
"""The row of a query that is not an item of the table, such as a typed text."""


@dataclass(frozen=True, eq=False)
class Search:
    """Queries and the gallery that they search.

    Attributes:
        name: name in metric keys and reports, such as image, text or fused.
        query_rows: (Q,) long rows of the queries in the item table, `NO_ROW` for a query that is
            not an item.
        gallery_rows: (N,) long rows of the gallery in the item table, ascending.
        groups: (Q,) long: queries with an equal code (of one product) are one unit for confidence
            intervals; UNKNOWN is a unit of its own.
        gallery_groups: (N,) long product codes of the gallery, if a new sample of products would
            also replace the gallery; None if the gallery is fixed.
        units: (N,) long unit of each gallery position, such as its product: what is ranked is
            units, each by its best item, and a cut-off k counts units. None to rank items.
        excluded: gallery positions that are left out of single queries' rankings; None for none.
        query_names: (Q,) names of the queries in reports; None for the items' ids.
    """

    name: str
    query_rows: NDArray[np.int64]
    gallery_rows: NDArray[np.int64]
    groups: Tensor
    gallery_groups: Tensor | None = None
    units: Tensor | None = None
    excluded: Excluded | None = None
    query_names: Sequence[str] | None = None

    def subset(self, queries: NDArray[np.int64]) -> "Search":
        """Keep only some of the queries, and the full gallery.

        Args:
            queries: (q,) long positions of queries, ascending.
        """
        names, excluded = self.query_names, self.excluded
        if excluded is not None:
            positions = excluded.queries.cpu().numpy()
            kept = np.isin(positions, queries)
            position = torch.from_numpy(np.searchsorted(queries, positions[kept]))
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
    """The relevant items of a search's queries, and the metrics that are computed.

    Attributes:
        name: the task's part of a metric's key, such as image/product.
        search: name of its search.
        relevance: relevance (gain) of each gallery item for each query.
        metrics: names such as hit@10 or ndcg@5; `map` and `rprecision` are of the full ranking.
        headlines: names of the metrics that a scoreboard shows.
        values: (Q,) long codes of the queries' attribute values and the values' names, for metrics
            by value; None for no such metrics.
        sliced: the metrics by value, without @k, beside those that the options name.
        zero_without_answer: whether a query without a relevant item counts as 0; if False, it does
            not count.
        notes: remarks for readers of the results.
    """

    name: str
    search: str
    relevance: Relevance
    metrics: Sequence[str]
    headlines: Sequence[str]
    values: tuple[Tensor, list[str]] | None = None
    sliced: Sequence[str] = ()
    zero_without_answer: bool = False
    notes: Sequence[str] = field(default_factory=tuple)

    def subset(self, queries: NDArray[np.int64]) -> "Task":
        """Keep only some of the queries; see `Search.subset`."""
        chosen = torch.from_numpy(queries)
        values = None if self.values is None else (self.values[0][chosen], self.values[1])
        return replace(self, relevance=self.relevance.subset(chosen), values=values)
