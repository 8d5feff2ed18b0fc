"""Linear heads that begin as the projection they replace."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Projection:
    """A linear map from features to an embedding.

    Attributes:
        weight: (D, F) float.
        bias: (D,) float, or None.
    """

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, linear: nn.Linear) -> "Projection":
        """A copy of a linear layer's weights."""
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(linear.weight.detach().clone(), bias)

    @classmethod
    def identity(cls, width: int) -> "Projection":
        """The map that changes nothing."""
        return cls(torch.eye(width), None)


def make_head(projection: Projection) -> nn.Linear:
    """A trainable head that begins as a projection; it has a bias only where that has one."""
    width, features = projection.weight.shape
    head = nn.Linear(features, width, bias=projection.bias is not None)
    with torch.no_grad():
        head.weight.copy_(projection.weight)
        if projection.bias is not None:
            head.bias.copy_(projection.bias)
    return head
