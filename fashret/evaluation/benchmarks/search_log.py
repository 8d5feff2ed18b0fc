"""Search logs: typed queries, and items that were clicked, bought or graded for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.data.judged_queries import search_log_queries
from fashret.data.judgments import read_judgments
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.evaluation.judged import JUDGED_METRICS, JudgedSearch
from fashret.functional.documents import documents
from fashret.types import JudgedQueries


@dataclass(frozen=True, kw_only=True)
class SearchLog(Benchmark):
    """A search log: typed queries retrieve items, with grades such as clicks or purchases.

    An item of a grade above 0 is relevant; nDCG takes the grades as linear gains, as trec_eval
    does. An item is a photo, a text, or normalize(w photo + (1 - w) text).

    Args:
        split: the split of the items that are searched; null for the one that is evaluated, `all`
            for all items.
        judgments: the file or folder, see `fashret.data.judgments.read_judgments`.
        queries: for TREC qrels, the file of query ids and texts.
        transform: what makes a grade of a summed weight: linear, log1p or rank.
        query_split: the split of the queries that are evaluated; a query without a split always is.
        splits: share of each split, for queries without a stated one; null leaves them without.
        split_seed: seed of the assignment of queries to splits.
        weight_image: weight w of the photo in an item, 0 to 1.
        k: the cut-offs.

    Raises:
        ConfigError: a value is out of its range.
    """

    judgments: str
    queries: str | None = None
    transform: str = "linear"
    query_split: str = "test"
    splits: Mapping[str, float] | None = None
    split_seed: int = 0
    weight_image: float = 1.0
    k: Sequence[int] = (1, 10)

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight_image <= 1.0:
            raise ConfigError(
                f"protocol.weight_image={self.weight_image}: it must be within 0 and 1"
            )

    @property
    def name(self) -> str:
        """The name of the benchmark in metric keys."""
        return "search_log"

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the task over all items that are searched.

        Where these are of several splits, a second one searches the items of the queries' own split
        alone, which no run was trained on: new queries, and new products as well.
        """
        read = read_judgments(
            self.judgments,
            queries=self.queries,
            transform=self.transform,
            shares=self.splits or None,
            seed=self.split_seed,
        )
        what = f"protocol.judgments={self.judgments}"
        judged = search_log_queries(read, inputs.table, what=what)
        yield self._task(inputs, judged, inputs.rows, "judged")
        table = inputs.table
        if self.query_split in table.splits:
            own = np.intersect1d(table.rows(self.query_split), inputs.rows)
            if len(own) < len(inputs.rows) and len(self._of(judged, own)):
                yield self._task(inputs, judged, own, "judged unseen products")

    def _of(self, judged: JudgedQueries, rows: NDArray[np.int64]) -> JudgedQueries:
        return judged.within(self.query_split, torch.from_numpy(rows))

    def _task(
        self,
        inputs: EvaluationInputs,
        judged: JudgedQueries,
        rows: NDArray[np.int64],
        name: str,
    ) -> EmbeddedTask:
        """The task of the split's queries over some rows of the table."""
        found = self._of(judged, rows)
        if not len(found):
            raise ConfigError(
                f"protocol.judgments={self.judgments}: no query of query_split={self.query_split} "
                f"has a relevant item among the {len(rows)} that are searched"
            )
        searched = JudgedSearch("search_log", found)
        names = [f"{metric}@{k}" for metric in JUDGED_METRICS for k in self.k]
        k = max(self.k)
        texts = found.texts
        position = torch.from_numpy(np.searchsorted(inputs.rows, rows))
        image, text = inputs.image[position], inputs.text[position]
        return EmbeddedTask(
            searched.task(
                rows, name=name, search=name, metrics=names, headlines=[f"ndcg@{k}", f"mrr@{k}"]
            ),
            searched.search(rows, name=name),
            inputs.weighted(inputs.embed_texts(texts)),
            documents("mixed", image, text, self.weight_image),
        )
