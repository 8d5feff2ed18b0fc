"""The contract of miners."""

from typing import Protocol

from torch import Tensor

from fashret.loading.samplers import RowBatches
from fashret.types import Baseline, Relations, TrainingItems


class Miner(Protocol):
    """Chooses which of the valid pairs a loss is to see."""

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine the untrained model's catalog of the items, once before training."""
        ...

    def compose(self, batches: RowBatches, *, seed: int) -> RowBatches:
        """Put what was mined into the batches that a sampler draws."""
        ...

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Narrow the relations of one batch; called without gradient."""
        ...
