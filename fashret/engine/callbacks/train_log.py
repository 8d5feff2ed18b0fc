"""train_log.jsonl: the metrics of each evaluation as JSON lines."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from fashret.engine.callbacks.retrieval import RetrievalEvaluation


class TrainLog(pl.Callback):
    """Appends a JSON object at each evaluation: epoch, step, and metrics by key.

    It also measures and logs, at the end of each epoch, the mean loss (`train/loss_epoch`) and the
    items per second of all processes together, without evaluation (`train/items_per_s`).

    Args:
        path: the file to append to.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._begin()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On a resumed run, drop the lines of steps that will be trained again."""
        if trainer.is_global_zero and self.path.exists():
            lines = self.path.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= trainer.global_step]
            self.path.write_text("".join(f"{line}\n" for line in kept))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the counts of the epoch."""
        self._begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a batch; Lightning divides its loss by the accumulated batches."""
        items = sum(len(part["index"]) for part in batch.values())
        self._items += items * trainer.world_size
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        self._seconds = time.perf_counter() - self._start

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line of an evaluation during training."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        logged = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/")
        }
        metrics: dict[str, float] = {}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in Lightning's type
            if isinstance(callback, RetrievalEvaluation):
                metrics = callback.means
        self.write(
            logged | self._measured() | metrics,
            epoch=trainer.current_epoch + 1,
            step=trainer.global_step,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the loss and the throughput of the epoch."""
        for name, value in self._measured().items():
            pl_module.log(name, value, sync_dist=trainer.world_size > 1)

    def write(self, numbers: Mapping[str, float], *, epoch: int, step: int) -> None:
        """Append one line; NaN becomes null.

        Args:
            numbers: the values by key.
            epoch: the number of finished epochs.
            step: the number of finished optimizer steps.
        """
        line: dict[str, float | None] = {"epoch": epoch, "step": step}
        line |= {name: None if value != value else value for name, value in numbers.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    @property
    def is_empty(self) -> bool:
        """Whether no line has been written, not even that of the baseline."""
        return not self.path.exists() or not self.path.read_text().strip()

    def _begin(self) -> None:
        self._items = 0
        self._losses: list[Any] = []
        self._start = time.perf_counter()
        self._seconds = 0.0

    def _measured(self) -> dict[str, float]:
        """The mean loss and the throughput since the start of the epoch."""
        if not self._losses:
            return {}
        mean = sum(float(loss) for loss in self._losses) / len(self._losses)
        return {"train/loss_epoch": mean, "train/items_per_s": self._items / self._seconds}
