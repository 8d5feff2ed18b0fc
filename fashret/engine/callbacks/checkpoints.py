"""Save the checkpoints of a run: the last epoch, and the best epochs."""

import os
import shutil
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint


class LastCheckpoint(ModelCheckpoint):
    """Saves the checkpoint of the last epoch as `last.ckpt`.

    It is a separate class because Lightning identifies the state of a callback by its class and
    arguments, which would be those of another ModelCheckpoint without a monitor.

    Args:
        dirpath: the folder of the checkpoints.
    """

    def __init__(self, dirpath: str) -> None:
        # save_last= would write only when the best is written.
        super().__init__(
            dirpath=dirpath,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class BestCheckpoint(ModelCheckpoint):
    """Saves the checkpoints of the best epochs; the best of them is always `best.ckpt`.

    With `save_top_k` other than 1 each is also saved as `best-epoch=<epoch>.ckpt`. Lightning's own
    class would write all of them to one file, and leave the last instead of the best.

    Args:
        dirpath: the folder of the checkpoints.
        monitor: the key of the metric to compare.
        mode: `max` or `min`.
        save_top_k: the number of checkpoints to keep; -1 for all.
        filename: the file name of each checkpoint; None as above.
        every_n_epochs: epochs between two comparisons; None for each.
        save_weights_only: whether to omit the state that a resumed run needs.
    """

    def __init__(
        self,
        dirpath: str,
        monitor: str,
        mode: str = "max",
        save_top_k: int = 1,
        filename: str | None = None,
        every_n_epochs: int | None = None,
        save_weights_only: bool = False,
    ) -> None:
        default = "best" if save_top_k == 1 else "best-epoch={epoch:03d}"
        super().__init__(
            dirpath=dirpath,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            filename=filename or default,
            every_n_epochs=every_n_epochs,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch if it is among the best."""
        super().on_validation_end(trainer, pl_module)
        self._name_best(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch likewise, for metrics that are logged without a validation."""
        super().on_train_epoch_end(trainer, pl_module)
        self._name_best(trainer)

    def _name_best(self, trainer: pl.Trainer) -> None:
        """Copy or link the best of the saved checkpoints to `best.ckpt`."""
        if not trainer.is_global_zero or not self.best_model_path:
            return
        best = Path(self.best_model_path)
        named = best.with_name("best.ckpt")
        if best == named:
            return
        partial = named.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        if best.is_dir():  # sharded weights
            shutil.copytree(best, partial)
            shutil.rmtree(named, ignore_errors=True)
        else:
            try:
                os.link(best, partial)
            except OSError:  # a file system without hard links
                shutil.copyfile(best, partial)
        os.replace(partial, named)
        partial.unlink(
            missing_ok=True
        )  # two links to one file: replacing one by the other does nothing
