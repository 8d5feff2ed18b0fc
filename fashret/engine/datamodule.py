"""The Lightning data module: stored features for frozen towers, photos for trained ones."""

import warnings
from typing import Any

import numpy as np
import pytorch_lightning as pl

from fashret.catalog.store import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.source import Source
from fashret.evaluation.split_search import SplitSearch
from fashret.loading.balanced_sampler import BalancedSampler
from fashret.loading.batches import BatchLoader, FeatureLoader, PhotoDataset, tokenize_captions
from fashret.loading.samplers import EvaluationSampler, RowBatchSampler, ShuffledSampler
from fashret.miners.base import Miner
from fashret.models.backbone import Backbone
from fashret.types import TrainingItems


class FashionData(pl.LightningDataModule):
    """Loads a prepared data set: stored features if towers are frozen, photos if they are trained.

    Args:
        table: the items.
        codes: the codes of the table.
        source: the data source, for batch size, workers and augmentation.
        plan: the evaluation after each epoch.
        baseline: the catalog of the untrained model, with the features of frozen towers.
        backbone: the trained towers, for their preprocessing; None if towers are frozen.
        training: the training items and their products; None for the training split.
        miner: composes training batches with mined items; None for none.
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
        miner: Miner | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.table = table
        self.codes = codes
        self.source = source
        self.plan = plan
        self.baseline = baseline
        self.backbone = backbone
        self.training = training
        self.miner = miner
        self.seed = seed
        self._done = 0

    def state_dict(self) -> dict[str, int]:
        """Return the number of finished batches of an unfinished epoch, for the checkpoint."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        batches: Any = loop.epoch_loop.batch_progress.current
        return {"done": batches.processed if epochs.ready > epochs.processed else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Skip the finished batches when the epoch is resumed."""
        self._done = state_dict["done"]
        # Lightning asks the loader for this, but only after it was made.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")

    def train_dataloader(self) -> FeatureLoader | BatchLoader:
        """Load every training item once per epoch, shuffled; or balanced by `data.balance`."""
        rank, world = self._process()
        rows = self.table.rows("train") if self.training is None else self.training.rows.numpy()
        size, shared = (
            self.source.batch_size,
            {"seed": self.seed, "rank": rank, "world_size": world},
        )
        overfits = bool(getattr(self.trainer, "overfit_batches", 0))
        batches: RowBatchSampler
        if self.source.balance is None or overfits:
            batches = ShuffledSampler(rows, batch_size=size, reshuffle=not overfits, **shared)
        else:
            codes = {n: (codes.numpy(), values) for n, (codes, values) in self.codes.labels.items()}
            batches = BalancedSampler(rows, self.source.balance, codes, batch_size=size, **shared)
        if self.miner is not None and not overfits:
            batches = self.miner.compose(batches, seed=self.seed)
        batches.num_done, self._done = self._done, 0
        return self._loader(batches, training=True)

    def val_dataloader(self) -> FeatureLoader | BatchLoader:
        """Load every item that the evaluation needs, in order."""
        rank, world = self._process()
        needed = self.plan.rows
        parts = [np.intersect1d(self.table.rows(split), needed) for split in self.table.splits]
        batches = EvaluationSampler(parts, rank=rank, world_size=world, even=True)
        return self._loader(batches, training=False)

    def _loader(self, batches: RowBatchSampler, *, training: bool) -> FeatureLoader | BatchLoader:
        codes = self.codes
        if training and self.training is not None:
            codes = codes.with_products(self.training.product)
        if self.backbone is None:
            features = self.baseline.image_features, self.baseline.text_features
            return FeatureLoader(codes, *features, batches)
        captions = (
            self.source.captions.fill(self.table) if training and self.source.captions else None
        )
        texts = self.codes.captions if captions is None else captions.captions
        tokens = tokenize_captions(self.backbone.tokenize, texts)
        photos = PhotoDataset(
            self.table,
            codes,
            self.backbone.photo_transform(),
            tokens,
            augment=self.source.augment if training else None,
            captions=None if captions is None else captions.merge_equal_tokens(tokens),
            tokenize=self.backbone.tokenize,
            seed=self.seed,
            min_side=self.backbone.min_side,
        )
        return BatchLoader(photos, batches, num_workers=self.source.workers)

    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
