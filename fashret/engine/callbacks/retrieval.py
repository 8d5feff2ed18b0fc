"""Retrieval metrics after each validation epoch."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from fashret.engine.ranking import Embedded, rank
from fashret.errors import ConfigError
from fashret.functional.topk import Ranking
from fashret.metrics.evaluation import Evaluation, metric_keys
from fashret.metrics.protocol import MODES, Protocol
from fashret.metrics.ranked import RankedRows
from fashret.models.retriever import Retriever


class RetrievalEvaluation(pl.Callback):
    """Judges the embeddings that the validation loop made.

    Every process embeds its share of the items and searches its share of the queries; the result
    is that of one process.

    Attributes:
        evaluation: the latest one.
        means: its metrics by key, in double precision (what Lightning logs is rounded to single).
    """

    def __init__(self) -> None:
        self.evaluation: Evaluation | None = None
        self.means: dict[str, float] = {}
        self._protocol: Protocol | None = None
        self._metrics: dict[str, RankedRows] = {}
        self._image: Tensor | None = None
        self._text: Tensor | None = None
        self._seen: Tensor | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the protocol from the data, and make sure that what is monitored will be there."""
        protocol: Protocol = trainer.datamodule.protocol  # type: ignore[attr-defined]  # Lightning's type has no datamodule
        self._protocol = protocol
        k = max(protocol.options.k)
        self._metrics = {mode: RankedRows(num_queries=len(protocol.queries), k=k) for mode in MODES}
        keys = metric_keys(protocol)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # nor callbacks
            monitor = getattr(callback, "monitor", None)
            if monitor and monitor.startswith("val/") and monitor.split("[")[0] not in keys:
                raise ConfigError(
                    f"{type(callback).__name__} monitors {monitor}, which is no metric of this "
                    f"run; such as {', '.join(keys[:3])}"
                )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with an empty table."""
        assert self._protocol is not None
        retriever = pl_module.retriever
        assert isinstance(retriever, Retriever)
        shape = (len(self._protocol.rows), retriever.dim)
        self._image = torch.zeros(shape, device=pl_module.device)
        self._text = torch.zeros(shape, device=pl_module.device)
        self._seen = torch.zeros(shape[0], device=pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put a batch's embeddings in their rows."""
        assert self._protocol is not None and self._image is not None
        assert self._text is not None and self._seen is not None
        places = np.searchsorted(self._protocol.rows, outputs["index"].cpu().numpy())
        self._image[places] = outputs["image"].float()
        self._text[places] = outputs["text"].float()
        self._seen[places] = 1.0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Share the embeddings, search, and log every metric under its key."""
        assert self._protocol is not None and self._image is not None
        assert self._text is not None and self._seen is not None
        if trainer.world_size > 1:
            for table in (self._image, self._text, self._seen):
                trainer.strategy.reduce(table, reduce_op="sum")
            # A row is zero but on one process, or on a few that repeated its batch.
            times = self._seen.clamp(min=1)[:, None]
            self._image, self._text = self._image / times, self._text / times
        if not bool(self._seen.all()):
            return  # a loop that was cut short (fast_dev_run, limit_val_batches)
        found = rank(
            self._protocol,
            Embedded(self._image, self._text),
            part=trainer.global_rank,
            parts=trainer.world_size,
        )
        rankings = {}
        for mode, (queries, ranking) in found.items():
            metric = self._metrics[mode].to(pl_module.device)
            metric.reset()
            metric.update(*(t.to(pl_module.device) for t in (queries, *ranking)))
            rankings[mode] = Ranking(*(t.cpu() for t in metric.compute()))
        self._image = self._text = self._seen = None
        self.evaluation = Evaluation.of(self._protocol, rankings)
        self.means = self.evaluation.means()
        if not trainer.sanity_checking:
            pl_module.log_dict(self.means)
