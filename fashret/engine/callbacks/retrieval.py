"""Retrieval metrics after each validation epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from fashret.engine.callbacks.recovery import advice
from fashret.errors import ConfigError, TrainingError
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.plan import metric_keys
from fashret.evaluation.ranked_rows import RankedRows
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import MODES, SplitSearch
from fashret.functional.topk import Ranking
from fashret.models.retriever import Retriever


class RetrievalEvaluation(pl.Callback):
    """Judges the embeddings that the validation loop made.

    Every process embeds its share of the items and searches its share of the queries; the result
    is that of one process.

    Attributes:
        evaluation: the latest one.
        means: its metrics by key, in double precision (what Lightning logs is rounded to single).
        sample: some of its photos' embeddings, at most 2,000.
    """

    def __init__(self) -> None:
        self.evaluation: Evaluation | None = None
        self.means: dict[str, float] = {}
        self.sample: Tensor | None = None
        self._plan: SplitSearch | None = None
        self._metrics: dict[str, RankedRows] = {}
        self._table: _Table | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the plan from the data, and make sure that what is monitored will be there."""
        plan: SplitSearch = trainer.datamodule.plan  # type: ignore[attr-defined]  # Lightning's type has no datamodule
        self._plan = plan
        k = max(plan.options.k)
        self._metrics = {mode: RankedRows(num_queries=len(plan.queries), k=k) for mode in MODES}
        keys = metric_keys(plan)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # nor callbacks
            monitor = getattr(callback, "monitor", None)
            if monitor and monitor.startswith("val/") and monitor.split("[")[0] not in keys:
                raise ConfigError(
                    f"{type(callback).__name__} monitors {monitor}, which is no metric of this "
                    f"run; such as {', '.join(keys[:3])}"
                )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with an empty table."""
        retriever = pl_module.retriever
        assert self._plan is not None
        assert isinstance(retriever, Retriever)
        self._table = _Table.empty(len(self._plan.rows), retriever.dim, pl_module.device)

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
        assert self._plan is not None
        assert self._table is not None
        places = np.searchsorted(self._plan.rows, outputs["index"].cpu().numpy())
        self._table.image[places] = outputs["image"].float()
        self._table.text[places] = outputs["text"].float()
        self._table.seen[places] = 1.0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Share the embeddings, search, and log every metric under its key.

        Raises:
            TrainingError: embeddings contain NaN or Inf.
        """
        assert self._plan is not None
        assert self._table is not None
        table, self._table = self._table.shared(trainer), None
        if not bool(table.seen.all()):
            return  # a loop that was cut short (fast_dev_run, limit_val_batches)
        finite = table.image.isfinite().all(dim=1) & table.text.isfinite().all(dim=1)
        if not bool(finite.all()):
            raise TrainingError(
                f"embeddings contain NaN or Inf: {int((~finite).sum())} of {len(finite)} items of "
                f"the split {self._plan.split}. {advice(trainer)}"
            )
        retriever = pl_module.retriever
        assert isinstance(retriever, Retriever)
        layout = retriever.layout
        self.sample = layout.block(table.image[:: max(1, len(table.image) // 2000)]).cpu()
        found = rank_split(
            self._plan,
            SplitEmbeddings(table.image, table.text, layout),
            part=trainer.global_rank,
            parts=trainer.world_size,
        )
        rankings = {}
        for mode, (queries, ranking) in found.items():
            metric = self._metrics[mode].to(pl_module.device)
            metric.reset()
            metric.update(*(t.to(pl_module.device) for t in (queries, *ranking)))
            rankings[mode] = Ranking(*(t.cpu() for t in metric.compute()))
        self.evaluation = Evaluation.from_rankings(self._plan, rankings)
        self.means = self.evaluation.means()
        if trainer.sanity_checking:
            return
        # What is monitored goes through Lightning; it takes a millisecond a number, and there are
        # hundreds, so that the others go to the loggers at once.
        monitored = {getattr(c, "monitor", None) for c in trainer.callbacks}  # type: ignore[attr-defined]  # nor callbacks
        watched = {key: self.means[key] for key in self.means if key in monitored}
        pl_module.log_dict(watched, sync_dist=trainer.world_size > 1)
        known = {key: value for key, value in self.means.items() if value == value}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step)


@dataclass
class _Table:
    """The embeddings of the plan's rows, as far as they are known here."""

    image: Tensor
    text: Tensor
    seen: Tensor

    @classmethod
    def empty(cls, rows: int, dim: int, device: torch.device) -> "_Table":
        image = torch.zeros(rows, dim, device=device)
        return cls(image, torch.zeros_like(image), torch.zeros(rows, device=device))

    def shared(self, trainer: pl.Trainer) -> "_Table":
        """The rows of all processes."""
        if trainer.world_size == 1:
            return self
        for part in (self.image, self.text, self.seen):
            trainer.strategy.reduce(part, reduce_op="sum")
        # A row is zero but on one process, or on a few that repeated its batch.
        times = self.seen.clamp(min=1)[:, None]
        return _Table(self.image / times, self.text / times, self.seen)
