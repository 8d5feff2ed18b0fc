"""What losses with a temperature share."""

import math

import torch
from torch import Tensor, nn


class Tempered(nn.Module):
    """Holds a temperature, learned or not.

    Args:
        temperature: what similarities are divided by at the start; above 0.
        learn_temperature: whether it is trained.
        max_scale: the largest 1 / temperature (CLIP's 100 keeps training stable).
    """

    def __init__(
        self, *, temperature: float = 0.07, learn_temperature: bool = True, max_scale: float = 100.0
    ) -> None:
        super().__init__()
        self.max_scale = max_scale
        start = torch.tensor(-math.log(temperature))
        self.log_scale: Tensor
        if learn_temperature:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start, persistent=False)

    @property
    def temperature(self) -> Tensor:
        """What similarities are divided by now."""
        return 1.0 / self.scale()

    def scale(self) -> Tensor:
        """What similarities are multiplied by now."""
        return self.log_scale.exp().clamp(max=self.max_scale)
