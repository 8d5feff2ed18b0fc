"""Whether embeddings have collapsed."""

from typing import NamedTuple

import torch
from torch import Tensor


class Health(NamedTuple):
    """How spread out embeddings are.

    Attributes:
        effective_rank: how many directions they fill: exp of the entropy of the normalised
            singular values (Roy and Vetterli, The Effective Rank, 2007), 1 to D.
        mean_similarity: of two different items, -1 to 1.
    """

    effective_rank: float
    mean_similarity: float

    @property
    def collapsed(self) -> bool:
        """Whether nearly all items lie in one place."""
        return self.mean_similarity > 0.98 or self.effective_rank < 1.5


def health(embeddings: Tensor) -> Health:
    """Judge (N, D) L2-normalised embeddings, N >= 2."""
    x = embeddings.double()
    values = torch.linalg.svdvals(x)
    share = values / values.sum().clamp(min=1e-12)
    rank = float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))
    n = len(x)
    total = float(x.sum(dim=0).square().sum() - x.square().sum())
    return Health(rank, total / (n * (n - 1)))
