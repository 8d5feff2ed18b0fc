"""The base class of what a run trains for: batches, pairs, and the metric that tells progress."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fashret.data.source import Source
from fashret.errors import ConfigError
from fashret.functional.judged import JudgedPairs
from fashret.loading.samplers import TrainingSampler
from fashret.types import Batch, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class TrainingTask(ABC):
    """What a run trains for: which items it batches, and which of them should be near.

    Every loss and every online miner works on rows, columns and their relations, whatever the task
    makes them of.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none. For
            many products on a small GPU (Wang et al., Cross-Batch Memory for Embedding Learning,
            2020).

    Raises:
        ConfigError: a value is out of its range.
    """

    weight: float = 1.0
    memory: int = 0

    name: ClassVar[str]
    """The name of the task in the configuration and in logs."""

    metric: ClassVar[str]
    """The metric that tells its progress, without the split: image/product/mrr@10."""

    by_product: ClassVar[bool] = False
    """Whether an item of another product is a negative whatever its attributes are."""

    @property
    def reads_text(self) -> bool:
        """Whether the task needs the items' texts."""
        return False

    @property
    def trains_text(self) -> bool:
        """Whether the task trains the text tower."""
        return self.reads_text

    def __post_init__(self) -> None:
        if self.weight <= 0.0 or self.memory < 0:
            raise ConfigError(
                f"task.{self.name}: weight={self.weight} must be above 0 and memory={self.memory} "
                "at least 0"
            )

    @abstractmethod
    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that the items have something to learn from.

        Args:
            items: the training items.
            caption: (N,) or (N, T) long codes of all captions that each item may have.
            data: name of the data set, for messages.
            batch_items: number of items in a batch of all processes together.
            values: whether the loss also learns from attribute values.

        Raises:
            DataError: they have nothing; the message says what is missing and which task fits.
            ConfigError: a batch is too small.
        """

    @abstractmethod
    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Make the sampler of the task's batches.

        Args:
            items: the training items.
            source: the data source, for the sizes of batches.
            reshuffle: False repeats the first epoch's batches.
            order: `seed`, `rank` and `world_size` of the sampler.
        """

    @abstractmethod
    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Choose what is compared: the rows and the columns of the loss.

        Args:
            images: (B, D) image embeddings of a batch.
            texts: (B, D) text embeddings of the batch; zero where there is no text.
            queries: (Q, D) embeddings of its judged queries; empty for a task without.
        """

    @abstractmethod
    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate the rows to the columns, by the name of a part of the loss.

        Args:
            rows: the codes of B items, and of Q judged queries.
            columns: the codes of M items: of the same batch, or of earlier ones.
            several_positives: whether the loss takes several positives per row.
            judged: the judgments of the queries; None for a task without.

        Returns:
            (B, M) masks by name; a task of one part calls it by its own name.
        """
