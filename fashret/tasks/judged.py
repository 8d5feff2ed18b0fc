"""The base class of tasks whose queries are judged queries, not items."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fashret.data.learnable import check_queries
from fashret.data.source import Source
from fashret.functional.judged import JudgedPairs, judged_relations
from fashret.loading.query_sampler import QuerySampler
from fashret.loading.samplers import TrainingSampler
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class JudgedTask(TrainingTask, ABC):
    """Trains queries against the items that were judged for them.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
    """

    key: ClassVar[str]
    """The config key of the file of the judgments."""

    @property
    def trains_text(self) -> bool:
        """True: a query is a text, or has one."""
        return True

    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that two queries have relevant training items; see `TrainingTask.check`."""
        check_queries(items, caption, data=data, task=self.name, key=self.key)

    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Draw pairs of a query and a relevant item; see `TrainingTask.sampler`."""
        queries = items.queries[self.name]
        return QuerySampler(queries, batch_size=source.batch_size, reshuffle=reshuffle, **order)

    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate queries to items; see `functional.judged.judged_relations`."""
        assert judged is not None
        asked = self.asked(columns)
        return {self.name: judged_relations(judged, rows["query"], columns["index"], asked)}

    def asked(self, columns: Batch) -> Tensor | None:
        """Return the (M,) queries that columns answer, to ignore answers of related queries.

        With None, every item that was not judged for a query is a negative of it.
        """
        return None
