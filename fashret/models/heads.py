"""Linear heads that begin as the projection they replace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


class Heads(NamedTuple):
    """What turns a model's features into embeddings.

    Attributes:
        image: of the general block.
        text: of it.
        blocks: of each attribute's block, image and text.
    """

    image: Projection
    text: Projection
    blocks: Mapping[str, tuple[Projection, Projection]] = {}


def narrowed(projection: Projection, width: int, seed: int) -> Projection:
    """A projection to `width` random directions of another's embedding, at right angles."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(projection.weight), width, generator=generator)
    basis = torch.linalg.qr(drawn)[0].T
    bias = None if projection.bias is None else basis @ projection.bias
    return Projection(basis @ projection.weight, bias)


def make_head(projection: Projection) -> nn.Linear:
    """A trainable head that begins as a projection; it has a bias only where that has one."""
    width, features = projection.weight.shape
    head = nn.Linear(features, width, bias=projection.bias is not None)
    with torch.no_grad():
        head.weight.copy_(projection.weight)
        if projection.bias is not None:
            head.bias.copy_(projection.bias)
    return head
