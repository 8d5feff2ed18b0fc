"""Power-function EMA: an average of the weights over the last part of training."""

import torch
from torch import Tensor

from fashret.engine.callbacks.averaging import Averaging
from fashret.errors import ConfigError


class PowerEMA(Averaging):
    """Evaluates and saves an average of the weights whose window grows during training.

    The weights of step i count in proportion to i^(gamma + 1) - (i - 1)^(gamma + 1), so that early
    steps lose their influence: Karras et al. 2024, "Analyzing and Improving the Training Dynamics
    of Diffusion Models", section 3.1. The running statistics of batch norm are averaged alike.

    Args:
        gamma: 0 is the mean of all steps; with 3, the default, a step counts as the cube of its
            number, and half of the mean comes from the last 16 % of the steps.

    Raises:
        ConfigError: `gamma` is below 0.
    """

    def __init__(self, gamma: float = 3.0) -> None:
        if gamma < 0:
            raise ConfigError(f"callbacks: gamma={gamma} of PowerEMA must be at least 0")
        self._gamma = gamma
        super().__init__(avg_fn=self._mean)

    def _mean(self, average: Tensor, current: Tensor, averaged: Tensor) -> Tensor:
        """The next average, after `averaged` steps."""
        kept = (averaged / (averaged + 1)) ** (self._gamma + 1)
        mean = current + (average - current) * kept.to(average.device)
        # A buffer may hold infinities (a text tower's causal mask), whose difference is no number.
        return torch.where(average == current, average, mean.to(average.dtype))
