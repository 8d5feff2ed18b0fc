"""Triplet loss over every triplet of a batch."""

import torch
from torch import Tensor, nn

from fashret.losses.symmetric import in_both_directions
from fashret.types import Relations


class Triplet(nn.Module):
    """Keeps each positive closer than each negative, by a margin.

    For a row i, over its positives p and negatives n with similarities s:

        max(0, margin + s_in - s_ip)

    averaged over the triplets that are not yet satisfied (Hermans et al., In Defense of the Triplet
    Loss for Person Re-Identification, 2017: batch all, non-zero mean), then over rows and over
    both directions.

    Use it with a miner: triplets of random negatives are soon all satisfied.

    Args:
        margin: margin of the cosine similarity, at least 0.
    """

    several_positives = True

    def __init__(self, *, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        similarity = similarity.float()  # for exact counts and sums under mixed precision
        row, column = positive.nonzero(as_tuple=True)
        gaps = self.margin + similarity[row] - similarity[row, column][:, None]
        gaps = gaps.clamp(min=0.0) * negative[row]  # (pairs, M)
        zeros = torch.zeros(len(similarity), dtype=similarity.dtype, device=similarity.device)
        total = zeros.index_add(0, row, gaps.sum(dim=1))
        num_violated = zeros.index_add(0, row, (gaps > 0).sum(dim=1).to(similarity.dtype))
        return total / num_violated.clamp(min=1.0)
