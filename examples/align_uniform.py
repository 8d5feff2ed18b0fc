"""A loss of your own: right pairs near one another, everything else spread evenly."""

import torch
from torch import Tensor, nn

from fashret.losses.base import no_pairs
from fashret.types import Relations


class AlignUniform(nn.Module):
    """Alignment of right pairs and uniformity of wrong ones on the sphere.

    (Wang and Isola, Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere, 2020.)

    Args:
        uniform: weight of the uniformity.
        t: how sharply near pairs repel.
    """

    def __init__(self, *, uniform: float = 1.0, t: float = 2.0) -> None:
        super().__init__()
        self.uniform = uniform
        self.t = t

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """The loss of (B, D) rows and (M, D) columns, both L2-normalised.

        `relations.positive` and `relations.negative` are (B, M) masks. A pair in neither must not
        count: it may be right without anybody knowing.
        """
        if not bool(relations.positive.any() and relations.negative.any()):
            return no_pairs(rows, columns)
        squared = 2.0 - 2.0 * rows @ columns.T  # of unit vectors
        alignment = squared[relations.positive].mean()
        uniformity = torch.exp(-self.t * squared[relations.negative]).mean().log()
        return alignment + self.uniform * uniformity
