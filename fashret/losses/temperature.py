"""Losses with a temperature, which may be learned."""

import math

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError


class TemperatureLoss(nn.Module):
    """Base of losses that divide similarities by a temperature, learned or fixed.

    A learned temperature is clamped to its bound by `clamp_scale` after each optimizer step, as
    open_clip does it. Clamping in the forward pass instead would give it no gradient at the bound,
    so that it could never leave it.

    Args:
        temperature: initial temperature, which divides similarities; above 0.
        learn_temperature: whether the temperature is trained.
        max_scale: largest value of 1 / temperature, if it is trained (CLIP's 100 keeps training
            stable).

    Raises:
        ConfigError: the temperature is not above 0, or a learned one starts beyond its bound.
    """

    def __init__(
        self, *, temperature: float = 0.07, learn_temperature: bool = True, max_scale: float = 100.0
    ) -> None:
        super().__init__()
        if temperature <= 0.0:
            raise ConfigError(f"loss.temperature={temperature}: it must be above 0")
        self.max_scale = max_scale
        start = torch.tensor(-math.log(temperature))
        self.log_scale: Tensor
        if learn_temperature:
            check_scale("loss.temperature", temperature, 1.0 / temperature, max_scale)
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start, persistent=False)

    @property
    def temperature(self) -> Tensor:
        """Current temperature, a scalar that divides similarities."""
        return 1.0 / self.scale()

    def scale(self) -> Tensor:
        """Return the current factor of similarities, a scalar: 1 / temperature."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Clamp a learned temperature to its bound; called after each optimizer step."""
        clamp_log_scale(self.log_scale, self.max_scale)


def check_scale(key: str, value: float, scale: float, max_scale: float) -> None:
    """Raise ConfigError for an initial scale that is not above 0 or is above its bound.

    Args:
        key: config key of the value, for the message.
        value: value of the key.
        scale: the initial scale that follows from it.
        max_scale: largest allowed scale.
    """
    if scale <= 0.0 or scale > max_scale * (1.0 + 1e-6):
        raise ConfigError(
            f"{key}={value}: similarities would be multiplied by {scale:g}, which must be above 0 "
            f"and at most loss.max_scale={max_scale:g}"
        )


@torch.no_grad()
def clamp_log_scale(log_scale: Tensor, max_scale: float) -> None:
    """Clamp the logarithm of a learned scale in place, to at most that of `max_scale`."""
    if log_scale.requires_grad:
        log_scale.clamp_(max=math.log(max_scale))
