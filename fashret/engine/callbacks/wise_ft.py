"""The weights between the untrained model and the trained one."""

from itertools import chain
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn, where

from fashret.engine.callbacks.averaging import Averaging
from fashret.errors import ConfigError


class WiseFT(Averaging):
    """Judges and keeps weights on the straight line from the untrained model to the trained one.

        (1 - alpha) * before + alpha * now

    What the training data say nothing of is forgotten less, often at no cost to what they do say
    (Wortsman et al., Robust fine-tuning of zero-shot models, 2022). Training itself goes on from
    its own weights. The running statistics of batch norm are mixed alike.

    Args:
        alpha: 0 is the untrained model, 1 the trained one.

    Raises:
        ConfigError: alpha not between 0 and 1.
    """

    def __init__(self, alpha: float = 0.5) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigError(f"callbacks: alpha={alpha} of WiseFT must be between 0 and 1")
        super().__init__()
        self._alpha = alpha
        self._before: list[Tensor] = []

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Never of itself: the mix is made when it is wanted."""
        return False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep the weights as they are before training, and before a checkpoint is read."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._before = [value.detach().clone() for value in _values(pl_module)]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the mix."""
        self._mix(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the mix, and beside it what training goes on from."""
        self._mix(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the mix in the module."""
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
    """What learns, and the buffers."""
    learning = (p for p in module.parameters() if p.requires_grad)
    return list(chain(learning, module.buffers()))
