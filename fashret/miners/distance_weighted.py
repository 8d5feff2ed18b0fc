"""Distance-weighted sampling of a batch's negatives."""

from dataclasses import replace

import torch
from torch import Tensor

from fashret.miners.online import OnlineMiner
from fashret.types import Relations


class DistanceWeightedMiner(OnlineMiner):
    """Samples negatives with the inverse of the density of distances on the sphere.

    Random negatives are nearly all as far as random points are; sampled this way, close and
    distant ones are equally likely (Wu et al., Sampling Matters in Deep Embedding Learning, 2017,
    equation 2). The sample depends on the batch alone, so that a resumed run draws the same.

    Args:
        keep: number of negatives to keep per row, and per column.
        cutoff: Euclidean distance of L2-normalised embeddings, 0 to 2; smaller distances count as
            this one, so that mislabelled negatives are not drawn all the time.
    """

    def __init__(self, *, keep: int = 32, cutoff: float = 0.5) -> None:
        self.keep = keep
        self.cutoff = cutoff

    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Sample the negatives of each row."""
        distance = (
            (2.0 - 2.0 * similarity.float()).clamp(min=1e-6, max=3.99).sqrt().clamp(min=self.cutoff)
        )
        density = (dim - 2) * distance.log() + (dim - 3) / 2 * (1 - distance.square() / 4).log()
        generator = torch.Generator().manual_seed(
            int(similarity[0].sum().nan_to_num(0.0).item() * 2**20)
        )
        uniform = torch.rand(similarity.shape, generator=generator).to(similarity.device)
        gumbel = -(-uniform.clamp(min=1e-12).log()).log()
        score = (gumbel - density).masked_fill(~relations.negative, -torch.inf)
        k = min(self.keep, score.shape[1])
        kept = torch.zeros_like(relations.negative)
        kept.scatter_(1, score.topk(k, dim=1).indices, True)
        return replace(relations, negative=kept & relations.negative)
