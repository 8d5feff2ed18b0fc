"""The search and the task of judged queries: typed texts of a search log, composed queries."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.data.judgments import frequency_bands
from fashret.functional.relevance import ListedRelevance
from fashret.tasks.base import NO_ROW, Search, Task
from fashret.types import UNKNOWN, JudgedQueries

BANDS = ["head", "torso", "tail"]
"""The queries by frequency: `fashret.data.judgments.frequency_bands`."""

JUDGED_METRICS = ("ndcg", "map", "map_cut", "mrr", "recall")
"""The metrics of graded judgments: nDCG with the grades as gains, and both conventions of MAP."""


@dataclass(frozen=True)
class JudgedSearch:
    """Judged queries that search a gallery.

    Attributes:
        source: the task that trains on them: search_log, composed.
        queries: the queries of the split that have a relevant item in the gallery.
    """

    source: str
    queries: JudgedQueries

    @property
    def name(self) -> str:
        """What queries are made of: text, or composed (a photo and words)."""
        return "text" if self.queries.reference is None else "composed"

    @property
    def task_name(self) -> str:
        """The name of the task: text/judged, composed/judged."""
        return f"{self.name}/judged"

    def search(self, gallery: NDArray[np.int64], *, name: str) -> Search:
        """Return the search of the queries over a gallery.

        Args:
            gallery: (N,) long rows of the item table, ascending.
            name: the name of the search.
        """
        reference = self.queries.reference
        none = np.full(len(self.queries), NO_ROW)
        return Search(
            name=name,
            query_rows=none if reference is None else reference.numpy(),
            gallery_rows=gallery,
            groups=torch.full((len(self.queries),), UNKNOWN),
            query_names=self.queries.texts,
        )

    def task(
        self,
        gallery: NDArray[np.int64],
        *,
        name: str,
        search: str,
        metrics: list[str],
        headlines: list[str],
    ) -> Task:
        """Return the task: every item with a grade above 0 is relevant.

        nDCG takes the grades as linear gains, as trec_eval does. Typed queries are also given by
        their frequency.

        Args:
            gallery: (N,) long rows of the item table, ascending; judgments of others do not count.
            name: the name of the task.
            search: the name of its search.
            metrics: the metrics, such as ndcg@10.
            headlines: those that a scoreboard shows.
        """
        inside = torch.isin(self.queries.row, torch.from_numpy(gallery))
        row = self.queries.row[inside].numpy()
        typed = self.queries.reference is None
        bands = torch.from_numpy(frequency_bands(self.queries.frequency.numpy()))
        return Task(
            name=name,
            search=search,
            relevance=ListedRelevance(
                self.queries.query[inside],
                torch.from_numpy(np.searchsorted(gallery, row)),
                self.queries.grade[inside],
                len(self.queries),
                len(gallery),
                least_gain=float(np.finfo(np.float64).tiny),
            ),
            metrics=metrics,
            headlines=headlines,
            values=(bands, BANDS) if typed else None,
            notes=self.queries.notes,
            sliced=[metric.partition("@")[0] for metric in headlines] if typed else [],
        )
