"""Batches of several tasks in one step."""

from collections.abc import Iterator, Mapping
from itertools import islice

from torch.utils.data import Dataset, Sampler

from fashret.loading.samplers import BatchRows, RowBatchSampler
from fashret.types import Batch

TaskRows = Mapping[str, BatchRows]
"""The rows of one step: a batch by task."""


class TaskSampler(Sampler[TaskRows]):
    """Yields the batches of all tasks of a step together.

    An epoch has as many steps as the task with the most batches; the others begin again.

    Args:
        samplers: the sampler of each task, by its name.

    Attributes:
        num_done: steps of the next epoch that were trained before a run was interrupted; they are
            skipped once.
    """

    num_done = 0

    def __init__(self, samplers: Mapping[str, RowBatchSampler]) -> None:
        self.samplers = samplers
        self._epoch = 0

    def __len__(self) -> int:
        return max(map(len, self.samplers.values()))

    def __iter__(self) -> Iterator[TaskRows]:
        # Read lazily, at the first batch: Lightning creates iterators that it never consumes.
        num_done, self.num_done = self.num_done, 0
        yield from islice(self._steps(), num_done, None)

    @property
    def sampler(self) -> "TaskSampler":
        """The sampler itself, under the name at which Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next; Lightning calls this before each epoch."""
        self._epoch = epoch

    def _steps(self) -> Iterator[TaskRows]:
        parts = {name: self._repeated(sampler) for name, sampler in self.samplers.items()}
        for _ in range(len(self)):
            yield {name: next(part) for name, part in parts.items()}

    def _repeated(self, sampler: RowBatchSampler) -> Iterator[BatchRows]:
        """Yield the batches of a task's epochs: as many as the longest task needs."""
        times = -(-len(self) // max(1, len(sampler)))
        for number in range(times):
            sampler.set_epoch(self._epoch * times + number)
            yield from sampler


class TaskDataset(Dataset[dict[str, Batch]]):
    """The batches of all tasks of a step.

    Args:
        datasets: the data set of each task, by its name.
    """

    def __init__(self, datasets: Mapping[str, Dataset[Batch]]) -> None:
        self.datasets = datasets

    def __len__(self) -> int:
        return max(len(dataset) for dataset in self.datasets.values())  # type: ignore[arg-type]  # all have a length

    def __getitems__(self, rows: TaskRows) -> dict[str, Batch]:
        """Load the batch of each task."""
        return {name: self.datasets[name].__getitems__(part) for name, part in rows.items()}  # type: ignore[attr-defined]  # all have it
