"""A photo and words find the photo that differs as the words say: `task=composed`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fashret.data.learnable import check_queries
from fashret.data.source import Source
from fashret.functional.judged import JudgedPairs, judged_relations
from fashret.loading.query_sampler import QuerySampler
from fashret.loading.samplers import TrainingSampler
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class ComposedTask(TrainingTask):
    """Trains composed queries against their targets, by triples of reference, text and target.

    The query is what the model's `composer` makes of the embeddings of the reference photo and of
    the text. All photos of a batch that are not a target of the query are negatives, its own
    reference among them.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
        composer: what makes a query of its two parts, sum or gated; `model.composer` follows it.
    """

    composer: str = "sum"

    name = "composed"
    metric = "composed/judged/mrr@10"

    @property
    def trains_text(self) -> bool:
        """True: a part of a query is a text."""
        return True

    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that two queries have a training target; see `TrainingTask.check`."""
        check_queries(items, caption, data=data, task=self.name, key="data.triples")

    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Draw pairs of a query and a target; see `TrainingTask.sampler`."""
        queries = items.queries[self.name]
        return QuerySampler(queries, batch_size=source.batch_size, reshuffle=reshuffle, **order)

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare composed queries with photos."""
        return queries, images

    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate queries to photos; see `functional.judged.judged_relations`."""
        assert judged is not None
        return {self.name: judged_relations(judged, rows["query"], columns["index"], None)}
