"""Compute retrieval metrics after each validation epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from fashret.engine.callbacks.recovery import advice
from fashret.errors import ConfigError, TrainingError
from fashret.evaluation.embed import embed_judged
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.plan import metric_keys
from fashret.evaluation.ranked_rows import RankedRows
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.topk import Ranking
from fashret.models.retriever import Retriever


class RetrievalEvaluation(pl.Callback):
    """Evaluates retrieval with the embeddings of the validation loop.

    Every process embeds its share of the items and ranks its share of the queries; the result does
    not depend on the number of processes.

    Attributes:
        evaluation: the latest evaluation; None before the first.
        means: its metrics by key, in double precision (Lightning logs single precision).
        sample: (n, D) general image embeddings of at most about 2,000 items, for the watchdog.
    """

    def __init__(self) -> None:
        self.evaluation: Evaluation | None = None
        self.means: dict[str, float] = {}
        self.sample: Tensor | None = None
        self._plan: SplitSearch | None = None
        self._metrics: dict[str, RankedRows] = {}
        self._table: _Table | None = None
        self._judged: Mapping[str, Tensor] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the plan of the data module, and check that monitored metrics exist."""
        plan: SplitSearch = trainer.datamodule.plan  # type: ignore[attr-defined]  # Lightning's type has no datamodule
        self._plan = plan
        k = max(plan.options.k)
        judged: Mapping[str, Tensor] = trainer.datamodule.validation_inputs  # type: ignore[attr-defined]  # nor here
        sizes = {mode: len(plan.queries) for mode in plan.modes}
        sizes |= {name: len(plan.judged[name].queries) for name in judged}
        self._judged = judged
        self._metrics = {name: RankedRows(num_queries=size, k=k) for name, size in sizes.items()}
        keys = metric_keys(plan)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # nor callbacks
            monitor = getattr(callback, "monitor", None)
            if monitor and monitor.startswith("val/") and monitor.split("[")[0] not in keys:
                raise ConfigError(
                    f"{type(callback).__name__} monitors {monitor}, which is not a metric of "
                    f"this run; metric names look like {', '.join(keys[:3])}"
                )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Clear the table of embeddings."""
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
        """Store the embeddings of a batch."""
        assert self._plan is not None
        assert self._table is not None
        positions = np.searchsorted(self._plan.rows, outputs["index"].cpu().numpy())
        self._table.image[positions] = outputs["image"].float()
        self._table.text[positions] = outputs["text"].float()
        self._table.seen[positions] = 1.0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchange the embeddings, rank, and log every metric under its key.

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
        embedded = SplitEmbeddings(table.image, table.text, layout)
        by_mode = rank_split(
            self._plan,
            embed_judged(self._plan, embedded, retriever, self._judged),
            part=trainer.global_rank,
            parts=trainer.world_size,
        )
        rankings = {}
        for mode, (queries, ranking) in by_mode.items():
            metric = self._metrics[mode].to(pl_module.device)
            metric.reset()
            metric.update(*(t.to(pl_module.device) for t in (queries, *ranking)))
            rankings[mode] = Ranking(*(t.cpu() for t in metric.compute()))
        self.evaluation = Evaluation.from_rankings(self._plan, rankings)
        self.means = self.evaluation.means()
        if trainer.sanity_checking:
            return
        # Monitored metrics go through Lightning, which takes a millisecond each; the hundreds of
        # others go directly to the loggers.
        monitored = {getattr(c, "monitor", None) for c in trainer.callbacks}  # type: ignore[attr-defined]  # nor callbacks
        watched = {key: self.means[key] for key in self.means if key in monitored}
        pl_module.log_dict(watched, sync_dist=trainer.world_size > 1)
        known = {key: value for key, value in self.means.items() if value == value}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step)


@dataclass
class _Table:
    """The embeddings of the plan's rows, and which of them this process has seen."""

    image: Tensor
    text: Tensor
    seen: Tensor

    @classmethod
    def empty(cls, rows: int, dim: int, device: torch.device) -> "_Table":
        image = torch.zeros(rows, dim, device=device)
        return cls(image, torch.zeros_like(image), torch.zeros(rows, device=device))

    def shared(self, trainer: pl.Trainer) -> "_Table":
        """Return the table with the rows of all processes."""
        if trainer.world_size == 1:
            return self
        for part in (self.image, self.text, self.seen):
            trainer.strategy.reduce(part, reduce_op="sum")
        # A row is non-zero on one process, or on a few that repeated its batch.
        times = self.seen.clamp(min=1)[:, None]
        return _Table(self.image / times, self.text / times, self.seen)
