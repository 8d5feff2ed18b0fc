"""No mining; the base of miners that do not need all of these steps."""

from torch import Tensor

from fashret.loading.samplers import RowBatchSampler
from fashret.types import Baseline, Relations, TrainingItems


class NoMiner:
    """Passes every valid pair to the loss."""

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Do nothing: nothing is mined before training."""

    def compose(self, batches: RowBatchSampler, *, seed: int) -> RowBatchSampler:
        """Return the sampler unchanged."""
        return batches

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Return the relations unchanged."""
        return relations
