"""The interface of miners."""

from typing import Protocol

from torch import Tensor

from fashret.loading.samplers import RowBatchSampler
from fashret.types import Baseline, Relations, TrainingItems


class Miner(Protocol):
    """Selects the valid pairs that a loss gets, and may add mined items to batches."""

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine the untrained model's embeddings of the items, once before training.

        Args:
            items: the training items with their labels.
            baseline: the untrained model's embeddings of the items.
        """
        ...

    def compose(self, batches: RowBatchSampler, *, seed: int) -> RowBatchSampler:
        """Wrap a sampler, so that mined items are added to its batches.

        Args:
            batches: the sampler of the batches.
            seed: seed of the choice of mined items.
        """
        ...

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Remove pairs from the relations of one batch; called without gradient.

        Args:
            rows: (B, D) float embeddings, L2-normalised.
            columns: (M, D) float embeddings, L2-normalised.
            relations: (B, M) masks of the valid pairs.
        """
        ...
