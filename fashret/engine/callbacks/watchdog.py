"""Stop a run with a loss of NaN or collapsed embeddings."""

from typing import Any

import pytorch_lightning as pl
import torch

from fashret.engine.callbacks.recovery import advice, last_good_weights
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.errors import TrainingError
from fashret.functional.collapse import EmbeddingSpread, measure_spread

_SAMPLE = 2000


class Watchdog(pl.Callback):
    """Stops a run whose loss or weights are NaN or Inf, or whose embeddings collapse.

    `last.ckpt` is then that of the last finished epoch. Each evaluation logs
    `val/image/effective_rank` and `val/image/mean_similarity`.
    """

    def __init__(self) -> None:
        self._before: EmbeddingSpread | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the embeddings of the baseline."""
        catalog: Any = trainer.datamodule.baseline  # type: ignore[attr-defined]  # not in its type
        step = max(1, len(catalog) // _SAMPLE)
        self._before = measure_spread(catalog.image[::step].float())

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check the loss every few steps, since reading it waits for the device."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # nor this
        if trainer.global_step % every == 0 and not bool(torch.isfinite(outputs["loss"])):
            raise TrainingError(
                f"the loss is {float(outputs['loss'])} at step {trainer.global_step}. "
                f"{advice(trainer)}"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the weights before a checkpoint of them is written."""
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
                raise TrainingError(
                    f"{name} contains NaN or Inf at the end of the epoch. {advice(trainer)}"
                )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the embeddings of an evaluation."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in its type
            if isinstance(callback, RetrievalEvaluation) and callback.sample is not None:
                self._check(trainer, measure_spread(callback.sample))

    def _check(self, trainer: pl.Trainer, now: EmbeddingSpread) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(
                {f"val/image/{name}": value for name, value in now._asdict().items()},
                step=trainer.global_step,
            )
        before, self._before = self._before, now
        if now.collapsed and before is not None and not before.collapsed:
            raise TrainingError(
                f"the embeddings have collapsed: mean cosine similarity of photos "
                f"{now.mean_similarity:.2f} (was {before.mean_similarity:.2f}), effective rank "
                f"{now.effective_rank:.1f} (was {before.effective_rank:.1f}). "
                f"{last_good_weights(trainer)} Try a smaller optimizer.lr, larger batches, or more "
                "random ones (miner.random)"
            )
