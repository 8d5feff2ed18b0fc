"""The sampler of batches of single items: shuffled, or balanced by `data.balance`."""

from typing import Any

from fashret.data.source import Source
from fashret.loading.balanced_sampler import BalancedSampler
from fashret.loading.samplers import ShuffledSampler, TrainingSampler
from fashret.types import TrainingItems


def item_batches(
    items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
) -> TrainingSampler:
    """Make the sampler of batches of single items.

    Args:
        items: the training items.
        source: the data source, for `batch_size` and `balance`.
        reshuffle: False repeats the first epoch's batches, without balance.
        order: `seed`, `rank` and `world_size` of the sampler.
    """
    rows = items.rows.numpy()
    if source.balance is None or not reshuffle:
        return ShuffledSampler(rows, batch_size=source.batch_size, reshuffle=reshuffle, **order)
    labels = {name: (codes.numpy(), values) for name, (codes, values) in items.labels.items()}
    return BalancedSampler(rows, source.balance, labels, batch_size=source.batch_size, **order)
