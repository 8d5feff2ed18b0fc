"""Log one line at the end of each epoch."""

import math
import time
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl


class EpochLines(pl.Callback):
    """Logs one line at the end of each epoch; in a terminal it stays above the progress bar.

        epoch 2/6: loss 1.839, val/text/pair/mrr@10 31.24 (baseline 20.10), 00:46 left

    Validation metrics are in points (0 to 100). The remaining time is estimated from the
    steps since this start, so that it is right for a resumed run too. Only rank 0 logs.

    Args:
        monitor: the key of the metric to show.

    Attributes:
        baseline: the metric's value before training, between 0 and 1; None if not known.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.baseline: float | None = None
        self._value: float | None = None
        self._losses: list[Any] = []
        self._start = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the time and the step at which training starts or resumes."""
        self._start = time.perf_counter()
        self._first_step = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the losses and the value of the epoch."""
        self._losses = []
        self._value = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Record the loss of the batch, which Lightning divides by the accumulated batches."""
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the monitored metric of this epoch."""
        value = trainer.callback_metrics.get(self.monitor)
        self._value = None if value is None else float(value)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the line."""
        if trainer.is_global_zero:
            pl_module.print(self._line(trainer), flush=True)

    def _line(self, trainer: pl.Trainer) -> str:
        """The line of the epoch that has just ended."""
        steps = trainer.estimated_stepping_batches
        an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        known = math.isfinite(steps) and an_epoch > 0
        parts = []
        if self._losses:
            mean = sum(float(loss) for loss in self._losses) / len(self._losses)
            parts.append(f"loss {mean:#.4g}")
        if self._value is not None:
            before = "" if self.baseline is None else f" (baseline {self._shown(self.baseline)})"
            parts.append(f"{self.monitor} {self._shown(self._value)}{before}")
        elapsed = time.perf_counter() - self._start
        done = trainer.global_step - self._first_step
        if known and done > 0:
            left = elapsed / done * max(0, steps - trainer.global_step)
            parts.append(f"{_duration(left)} left")
        of_all = f"/{math.ceil(steps / an_epoch)}" if known else ""
        return f"epoch {trainer.current_epoch + 1}{of_all}: {', '.join(parts)}"

    def _shown(self, value: float) -> str:
        """A validation metric in points, another value unchanged."""
        return f"{100 * value:.2f}" if self.monitor.startswith("val/") else f"{value:.4g}"


def _duration(seconds: float) -> str:
    """Minutes and seconds, after an hour also hours: 3:07, 1:03:07."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")
