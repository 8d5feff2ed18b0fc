"""Photos find photos with the same value of an attribute: `task=attribute`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fashret.data.learnable import check_values
from fashret.data.source import Source
from fashret.errors import ConfigError
from fashret.functional.judged import JudgedPairs
from fashret.functional.relations import value_relations
from fashret.loading.item_batches import item_batches
from fashret.loading.samplers import TrainingSampler
from fashret.names import listed
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, Labels, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class AttributeTask(TrainingTask):
    """Trains photos against photos, for each attribute: an equal value is a positive.

    A photo whose value is not known is ignored for that attribute. The losses of the attributes are
    averaged.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
        attributes: names of the attributes, `category` may be one of them; null for all of the
            data, and the category.
    """

    attributes: list[str] | None = None
    _labels: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    name = "attribute"
    metric = "image/category/precision@10"

    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that an attribute has two known values; see `TrainingTask.check`."""
        check_values(items, caption, self._named(items.labels), data=data, batch_items=batch_items)

    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Draw items at random, or by `data.balance`; see `TrainingTask.sampler`."""
        self._labels.update({n: codes for n, (codes, _) in self._named(items.labels).items()})
        return item_batches(items, source, reshuffle=reshuffle, **order)

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare photos with photos."""
        return images, images

    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate photos to photos by each attribute; a photo is neither to itself."""
        device = rows["index"].device
        index = rows["index"].cpu(), columns["index"].cpu()
        same_item = rows["index"][:, None] == columns["index"][None, :]
        return {
            name: value_relations(*(codes[i].to(device) for i in index)).without(same_item)
            for name, codes in self._labels.items()
        }

    def _named(self, labels: Labels) -> Labels:
        """The labels of the task's attributes.

        Raises:
            ConfigError: the data does not have one of them.
        """
        for name in self.attributes or ():
            if name not in labels:
                raise ConfigError(
                    f"task.attribute.attributes names {name}; the data has {listed(name, labels)}"
                )
        return labels if self.attributes is None else {n: labels[n] for n in self.attributes}
