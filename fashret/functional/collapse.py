"""Detection of collapsed embeddings: how many directions they fill, and how alike they are."""

from typing import NamedTuple

import torch
from torch import Tensor


class EmbeddingSpread(NamedTuple):
    """How spread out embeddings are over the unit sphere.

    Attributes:
        effective_rank: number of directions that the embeddings fill, 1 to D: exp of the entropy
            of the normalised singular values (Roy and Vetterli, The Effective Rank, 2007).
        mean_similarity: mean cosine similarity of two different items, -1 to 1.
    """

    effective_rank: float
    mean_similarity: float

    @property
    def collapsed(self) -> bool:
        """Whether nearly all items have the same embedding."""
        return self.mean_similarity > 0.98 or self.effective_rank < 1.5


def measure_spread(embeddings: Tensor) -> EmbeddingSpread:
    """Measure how spread out embeddings are.

    Args:
        embeddings: (N, D) float, L2-normalised, N >= 2.
    """
    x = embeddings.double()
    values = torch.linalg.svdvals(x)
    share = values / values.sum().clamp(min=1e-12)
    rank = float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))
    n = len(x)
    total = float(x.sum(dim=0).square().sum() - x.square().sum())
    return EmbeddingSpread(rank, total / (n * (n - 1)))
