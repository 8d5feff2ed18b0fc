"""No mining, and what miners that only look at a batch have in common."""

from torch import Tensor

from fashret.loading.samplers import RowBatches
from fashret.types import Baseline, Relations, TrainingItems


class NoMiner:
    """Leaves every valid pair to the loss."""

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Mine nothing before training."""

    def compose(self, batches: RowBatches, *, seed: int) -> RowBatches:
        """The batches as they are."""
        return batches

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """The relations as they are."""
        return relations
