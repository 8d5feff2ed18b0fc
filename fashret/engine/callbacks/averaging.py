"""What means of weights have in common."""

import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging

from fashret.engine.module import RetrievalModule


class Averaging(WeightAveraging):
    """Judges and keeps a mean of the weights, and goes on from training's own.

    A checkpoint holds both, of what learns: frozen towers are in neither.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the mean's model."""
        with warnings.catch_warnings():  # of sharding, which is refused with a mean
            warnings.filterwarnings("ignore", message=".*model that overrides the configure_model")
            super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the mean in place of the weights, and beside it what training goes on from."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._average_model is not None:
            assert isinstance(pl_module, RetrievalModule)
            own = checkpoint["current_model_state"]
            checkpoint["current_model_state"] = pl_module.what_learned(own)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load both; what a checkpoint does not hold stays as it is."""
        if self._average_model is None or "current_model_state" not in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            return
        self._average_model.module.load_state_dict(checkpoint["state_dict"], strict=False)
        self._average_model.load_state_dict(checkpoint["averaging_state"], strict=False)
        pl_module.load_state_dict(checkpoint["current_model_state"], strict=False)
