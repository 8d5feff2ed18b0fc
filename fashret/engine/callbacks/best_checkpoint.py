"""The best checkpoint, under a name of its own however many are kept."""

import os
import shutil
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoints of the best epochs; the best of them is always `best.ckpt`.

    With `save_top_k` other than 1 each is also kept as `best-epoch=<epoch>.ckpt`: Lightning's own
    class would write all of them into one file of a constant name, of which the last written, not
    the best, is left.

    Args:
        dirpath: the folder of the checkpoints.
        monitor: the metric that is compared.
        mode: `max` or `min`.
        save_top_k: how many are kept; -1 for all.
        filename: of each checkpoint, by default as above.
        every_n_epochs: epochs between two comparisons.
        save_weights_only: leave out what a resumed run needs.
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
        own = "best" if save_top_k == 1 else "best-epoch={epoch:03d}"
        super().__init__(
            dirpath=dirpath,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            filename=filename or own,
            every_n_epochs=every_n_epochs,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch if it is among the best."""
        super().on_validation_end(trainer, pl_module)
        self._name_best(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same, for what is compared without a validation."""
        super().on_train_epoch_end(trainer, pl_module)
        self._name_best(trainer)

    def _name_best(self, trainer: pl.Trainer) -> None:
        """Make `best.ckpt` the best of what is kept."""
        best = Path(self.best_model_path)
        named = best.with_name("best.ckpt")
        if not trainer.is_global_zero or not self.best_model_path or best == named:
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
