"""Captions find photos, and photos captions: `task=caption`, the default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fashret.data.learnable import check_captions
from fashret.data.source import Source
from fashret.functional.judged import JudgedPairs
from fashret.functional.relations import pair_relations
from fashret.loading.item_batches import item_batches
from fashret.loading.samplers import TrainingSampler
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class CaptionTask(TrainingTask):
    """Trains photos against captions: an item's own caption is the positive of its photo.

    Equal captions of other items, and captions of the product's other photos, are neither positive
    nor negative; with losses of several positives, the latter are positives.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
    """

    name = "caption"
    metric = "text/pair/mrr@10"

    @property
    def reads_text(self) -> bool:
        """True: captions are one of the two sides."""
        return True

    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that two items have different texts and products; see `TrainingTask.check`."""
        check_captions(items, caption, data=data, batch_items=batch_items, values=values)

    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Draw items at random, or by `data.balance`; see `TrainingTask.sampler`."""
        return item_batches(items, source, reshuffle=reshuffle, **order)

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare photos with texts."""
        return images, texts

    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate photos to captions; see `functional.relations.pair_relations`."""
        return {self.name: pair_relations(rows, columns, several_positives=several_positives)}
