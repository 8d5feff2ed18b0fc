"""The base class of callbacks that average weights."""

import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging

from fashret.engine.module import RetrievalModule


class Averaging(WeightAveraging):
    """Evaluates and saves averaged weights, while training continues from its own weights.

    A checkpoint contains both, without frozen towers.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Create the model with the averaged weights."""
        with warnings.catch_warnings():  # about sharding, which is refused here
            warnings.filterwarnings("ignore", message=".*model that overrides the configure_model")
            super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the averaged weights as the state, and the training weights beside them."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._average_model is not None:
            assert isinstance(pl_module, RetrievalModule)
            training_state = checkpoint["current_model_state"]
            checkpoint["current_model_state"] = pl_module.learned_part(training_state)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load both; weights that the checkpoint lacks are kept."""
        if self._average_model is None or "current_model_state" not in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            return
        self._average_model.module.load_state_dict(checkpoint["state_dict"], strict=False)
        self._average_model.load_state_dict(checkpoint["averaging_state"], strict=False)
        pl_module.load_state_dict(checkpoint["current_model_state"], strict=False)
