"""Learning-rate schedules, by optimizer step."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fashret.errors import ConfigError


def warmup_cosine(
    optimizer: Optimizer,
    *,
    steps_per_epoch: float,
    epochs: int,
    warmup: float,
    final: float,
) -> LambdaLR:
    """A linear rise from zero, then half a cosine down.

    Args:
        optimizer: whose learning rate is the peak.
        steps_per_epoch: optimizer steps in an epoch.
        epochs: over how many epochs it runs.
        warmup: the share of all steps that the rise takes, 0 to 1.
        final: where the cosine ends, as a share of the peak.
    """
    if epochs < 1 or not 0.0 <= warmup <= 1.0:
        raise ConfigError(
            f"scheduler.epochs={epochs} scheduler.warmup={warmup}: epochs must be at least 1 "
            "(trainer.max_epochs=-1 has no end: give scheduler.epochs), warmup within 0 and 1"
        )
    total = max(1.0, steps_per_epoch * epochs)
    rise = total * warmup

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        done = min(1.0, (step - rise) / max(1.0, total - rise))
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, *, steps_per_epoch: float) -> LambdaLR:
    """The optimizer's own learning rate throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)
