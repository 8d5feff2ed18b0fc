"""The learned temperature of a loss."""

import math

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError


class Tempered(nn.Module):
    """Holds a temperature, learned or not.

    A learned temperature is kept within its bound by `clamp_scale` after each optimizer step, as
    open_clip does it. Clamping in the forward pass instead would give it no gradient at the bound,
    so that it could never leave it.

    Args:
        temperature: what similarities are divided by at the start; above 0.
        learn_temperature: whether it is trained.
        max_scale: the largest 1 / temperature of a learned one (CLIP's 100 keeps training stable).

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
        """What similarities are divided by now, a scalar."""
        return 1.0 / self.scale()

    def scale(self) -> Tensor:
        """What similarities are multiplied by now, a scalar."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Bring a learned temperature back within its bound; called after each optimizer step."""
        clamp_log_scale(self.log_scale, self.max_scale)


def check_scale(key: str, value: float, scale: float, max_scale: float) -> None:
    """Raise ConfigError for a scale that is not above 0 or starts above its bound."""
    if scale <= 0.0 or scale > max_scale * (1.0 + 1e-6):
        raise ConfigError(
            f"{key}={value}: similarities would be multiplied by {scale:g}, which must be above 0 "
            f"and at most loss.max_scale={max_scale:g}"
        )


@torch.no_grad()
def clamp_log_scale(log_scale: Tensor, max_scale: float) -> None:
    """Bring the logarithm of a learned scale to at most that of `max_scale`, in place."""
    if log_scale.requires_grad:
        log_scale.clamp_(max=math.log(max_scale))
