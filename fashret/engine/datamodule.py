"""The Lightning data module: stored features for frozen towers, photos for trained ones."""

import hashlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import Dataset

from fashret.catalog.folder import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.source import Source
from fashret.errors import CheckpointError
from fashret.evaluation.split_search import SplitSearch
from fashret.loading.batches import (
    BatchLoader,
    FeatureDataset,
    FeatureLoader,
    PhotoDataset,
    QueryDataset,
    tokenize_captions,
)
from fashret.loading.samplers import EvaluationSampler, RowBatchSampler
from fashret.loading.task_batches import TaskDataset, TaskSampler
from fashret.miners.base import Miner
from fashret.models.backbone import Backbone
from fashret.tasks import CaptionTask
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, TrainingItems


class FashionData(pl.LightningDataModule):
    """Loads a prepared data set: stored features if towers are frozen, photos if they are trained.

    Args:
        table: the items.
        codes: the codes of the table.
        source: the data source, for batch size, workers and augmentation.
        plan: the evaluation after each epoch.
        baseline: the catalog of the untrained model, with the features of frozen towers.
        backbone: the trained towers, for their preprocessing; None if towers are frozen.
        training: the training items and their products; None for those of the training split.
        tasks: what is trained for; each step has a batch of each task.
        text_tasks: names of the tasks whose batches have the items' texts.
        miner: composes training batches with mined items; None for none.
        query_inputs: the texts of the judged training queries by task: (Q, L) long tokens, or (Q,
            G) float features if towers are frozen.
        validation_inputs: likewise of the queries of the evaluation after each epoch.
        seed: the seed of the batch order and of the augmentation.
    """

    def __init__(
        self,
        table: ItemTable,
        codes: ItemCodes,
        source: Source,
        plan: SplitSearch,
        *,
        baseline: Catalog,
        backbone: Backbone | None = None,
        training: TrainingItems | None = None,
        tasks: Sequence[TrainingTask] = (CaptionTask(),),
        text_tasks: Collection[str] = ("caption",),
        miner: Miner | None = None,
        query_inputs: Mapping[str, Tensor] | None = None,
        validation_inputs: Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.table = table
        self.codes = codes
        self.source = source
        self.plan = plan
        self.baseline = baseline
        self.backbone = backbone
        self.training = codes.training_items(table) if training is None else training
        self.tasks = tasks
        self.text_tasks = text_tasks
        self.miner = miner
        self.query_inputs = query_inputs or {}
        self.validation_inputs = validation_inputs or {}
        self.seed = seed
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the finished batches of an unfinished epoch, and a hash of the judged queries."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        batches: Any = loop.epoch_loop.batch_progress.current
        done = batches.processed if epochs.ready > epochs.processed else 0
        return {"done": done, "judged": self._judged_digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Skip the finished batches when the epoch is resumed.

        Raises:
            CheckpointError: the judged queries are not those that the run began with.
        """
        if state_dict.get("judged", "") not in ("", self._judged_digest()):
            raise CheckpointError(
                "the run cannot be resumed: the judgments or triples of its training split are not "
                "those that it began with. Undo the change of data.judgments or data.triples, or "
                "start a new run without resume="
            )
        self._done = state_dict["done"]
        # Lightning asks the loader for this, but only after it was made.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")

    def _judged_digest(self) -> str:
        """A hash of the judged queries that are trained on; "" without any."""
        queries = self.training.queries
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(queries):
            judged = queries[name]
            digest.update("\n".join([name, *judged.texts]).encode())
            for part in (judged.query, judged.row, judged.grade):
                digest.update(part.numpy().tobytes())
        return digest.hexdigest() if queries else ""

    def train_dataloader(self) -> FeatureLoader | BatchLoader:
        """Load the batches of every task, in each step one of each."""
        rank, world = self._process()
        overfits = bool(getattr(self.trainer, "overfit_batches", 0))
        samplers: dict[str, RowBatchSampler] = {}
        for task in self.tasks:
            sampler: RowBatchSampler = task.sampler(
                self.training,
                self.source,
                reshuffle=not overfits,
                seed=self.seed,
                rank=rank,
                world_size=world,
            )
            if self.miner is not None and not overfits:
                sampler = self.miner.compose(sampler, seed=self.seed)
            samplers[task.name] = sampler
        batches = TaskSampler(samplers)
        batches.num_done, self._done = self._done, 0
        datasets = {task.name: self._task_dataset(task) for task in self.tasks}
        return self._loader(TaskDataset(datasets), batches)

    def val_dataloader(self) -> FeatureLoader | BatchLoader:
        """Load every item that the evaluation needs, in order."""
        rank, world = self._process()
        needed = self.plan.rows
        parts = [np.intersect1d(self.table.rows(split), needed) for split in self.table.splits]
        batches = EvaluationSampler(parts, rank=rank, world_size=world, even=True)
        return self._loader(self._dataset(training=False), batches)

    def _loader(self, dataset: Any, batches: Any) -> FeatureLoader | BatchLoader:
        if self.backbone is None:
            return FeatureLoader(dataset, batches)
        return BatchLoader(dataset, batches, num_workers=self.source.workers)

    def _task_dataset(self, task: TrainingTask) -> Dataset[Batch]:
        """The items as a task is trained with them, with the judged queries that it has."""
        items = self._dataset(training=True, task=task)
        if task.name not in self.query_inputs:
            return items
        composed = self.training.queries[task.name].reference is not None
        return QueryDataset(items, self.query_inputs[task.name], composed=composed)

    def _dataset(
        self, *, training: bool, task: TrainingTask | None = None
    ) -> FeatureDataset | PhotoDataset:
        """The items as a split is evaluated with them, or as a task is trained with them."""
        codes = self.codes.with_products(self.training.product) if training else self.codes
        reads_text = task is None or task.name in self.text_tasks
        if self.backbone is None:
            texts = self.baseline.text_features if reads_text else None
            return FeatureDataset(codes, self.baseline.image_features, texts)
        shared: dict[str, Any] = {
            "augment": self.source.augment if training else None,
            "seed": self.seed,
            "min_side": self.backbone.min_side,
        }
        transform = self.backbone.photo_transform()
        if not reads_text:
            return PhotoDataset(self.table, codes, transform, **shared)
        captions = (
            self.source.captions.fill(self.table) if training and self.source.captions else None
        )
        tokens = tokenize_captions(
            self.backbone.tokenize, self.codes.captions if captions is None else captions.captions
        )
        return PhotoDataset(
            self.table,
            codes,
            transform,
            tokens,
            captions=None if captions is None else captions.merge_equal_tokens(tokens),
            tokenize=self.backbone.tokenize,
            **shared,
        )

    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
