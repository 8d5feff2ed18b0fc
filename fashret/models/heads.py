"""Linear heads that are initialised with the projection that they replace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fashret.functional.similarity import Vectors

_CHUNK = 65_536
"""Rows read at a time."""


@dataclass(frozen=True)
class Projection:
    """A linear map from features to an embedding.

    Attributes:
        weight: (D, F) float weight.
        bias: (D,) float bias; None for none.
    """

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> "Projection":
        """Copy the weights of a linear layer."""
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(linear.weight.detach().clone(), bias)

    @classmethod
    def identity(cls, width: int) -> "Projection":
        """Make the identity of `width` dimensions."""
        return cls(torch.eye(width), None)


class Heads(NamedTuple):
    """The linear maps that turn a model's features into embeddings.

    Attributes:
        image: image head of the general block.
        text: text head of the general block.
        blocks: image and text head of each attribute's block, by attribute.
    """

    image: Projection
    text: Projection
    blocks: Mapping[str, tuple[Projection, Projection]] = {}


def random_subspace(projection: Projection, width: int, seed: int) -> Projection:
    """Project further onto a random subspace of a projection's embedding.

    Args:
        projection: a projection to D dimensions.
        width: dimensions of the subspace, at most D.
        seed: seed of the orthonormal basis.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(projection.weight), width, generator=generator)
    return project(projection, torch.linalg.qr(vectors)[0].T)


def project(projection: Projection, axes: Tensor) -> Projection:
    """Project further onto axes of a projection's embedding.

    Args:
        projection: a projection to D dimensions.
        axes: (d, D) orthonormal axes.
    """
    bias = None if projection.bias is None else axes @ projection.bias
    return Projection(axes @ projection.weight, bias)


def principal_axes(embeddings: Sequence[Vectors], rows: Tensor, dim: int) -> Tensor:
    """Find the axes that keep most of the inner products of embeddings.

    They are the first eigenvectors of the second moments, not centred: the best approximation of
    the matrix of inner products by vectors of `dim` dimensions (Eckart and Young, 1936).

    Args:
        embeddings: each (N, D), such as those of photos and of texts.
        rows: (n,) long rows that count.
        dim: the number d of axes, at most D.

    Returns:
        (d, D) float orthonormal axes, the one that carries most first.
    """
    width = embeddings[0][rows[:1]].shape[1]
    moments = torch.zeros(width, width, dtype=torch.float64)
    for each in embeddings:
        for part in rows.split(_CHUNK):
            vectors = each[part].double().cpu()
            moments += vectors.T @ vectors
    axes = torch.linalg.eigh(moments).eigenvectors.flip(1).T[:dim]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    signed: Tensor = axes * largest.sign()
    return signed.float()  # an eigenvector's sign is arbitrary


def make_head(projection: Projection) -> nn.Linear:
    """Make a trainable head that is initialised with a projection; a bias only if that has one."""
    width, features = projection.weight.shape
    head = nn.Linear(features, width, bias=projection.bias is not None)
    with torch.no_grad():
        head.weight.copy_(projection.weight)
        if projection.bias is not None:
            head.bias.copy_(projection.bias)
    return head
