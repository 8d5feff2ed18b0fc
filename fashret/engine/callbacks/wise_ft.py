"""WiSE-FT: interpolate between the weights of the untrained and of the trained model."""

from itertools import chain
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn, where

from fashret.engine.callbacks.averaging import Averaging
from fashret.errors import ConfigError


class WiseFT(Averaging):
    """Evaluates and saves the weights interpolated between the untrained and the trained model.

        (1 - alpha) * before + alpha * now

    It preserves what the training data does not cover, often at no cost on what it covers (Wortsman
    et al., Robust fine-tuning of zero-shot models, 2022). Training continues from its own weights.
    The running statistics of batch norm are interpolated too.

    Args:
        alpha: 0 is the untrained model, 1 the trained one.

    Raises:
        ConfigError: `alpha` is not between 0 and 1.
    """

    def __init__(self, alpha: float = 0.5) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigError(f"callbacks: alpha={alpha} of WiseFT must be between 0 and 1")
        super().__init__()
        self._alpha = alpha
        self._before: list[Tensor] = []

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return False: the weights are interpolated on demand instead."""
        return False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep the untrained weights, before a checkpoint is read."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._before = [value.detach().clone() for value in _values(pl_module)]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Interpolate the weights to evaluate."""
        self._mix(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the interpolated weights, and the training weights beside them."""
        self._mix(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the interpolated weights in the module."""
        self._mix(pl_module)
        super().on_train_end(trainer, pl_module)

    def _mix(self, pl_module: pl.LightningModule) -> None:
        if self._average_model is None:
            return
        mixed = _values(self._average_model.module)
        for mix, before, now in zip(mixed, self._before, _values(pl_module), strict=True):
            start = before.to(now.device)
            # A buffer may hold infinities (a text tower's causal mask), whose difference is no
            # number, or counts, which are no mean.
            between = start + self._alpha * (now.detach() - start)
            mix.data.copy_(where(start == now, now, between.to(now.dtype)))


def _values(module: nn.Module) -> list[Tensor]:
    """The trainable parameters and the buffers."""
    learning = (p for p in module.parameters() if p.requires_grad)
    return list(chain(learning, module.buffers()))
