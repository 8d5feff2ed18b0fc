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
    """Linear warmup from zero, then cosine decay.

    Args:
        optimizer: the optimizer; its learning rate is the peak.
        steps_per_epoch: the number of optimizer steps per epoch.
        epochs: the length of the schedule in epochs.
        warmup: the warmup's share of all steps, 0 to 1.
        final: the final learning rate, as a share of the peak.

    Raises:
        ConfigError: `epochs` or `warmup` is out of its range.
    """
    if epochs < 1 or not 0.0 <= warmup <= 1.0:
        raise ConfigError(
            f"scheduler.epochs={epochs} scheduler.warmup={warmup}: epochs must be at least 1 "
            "(with trainer.max_epochs=-1 set scheduler.epochs), warmup between 0 and 1"
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
    """Constant learning rate: that of the optimizer.

    Args:
        optimizer: the optimizer.
        steps_per_epoch: not used; all schedules receive it.
    """
    return LambdaLR(optimizer, lambda step: 1.0)
