"""Semi-hard mining of a batch's negatives."""

from dataclasses import replace

import torch
from torch import Tensor

from fashret.miners.online import OnlineMiner
from fashret.types import Relations


class SemiHardMiner(OnlineMiner):
    """Keeps negatives that are farther than a row's closest positive, by less than a margin.

    A row without such negatives keeps the closest one that is farther than the positive, else the
    closest of all (Schroff et al., FaceNet, 2015). Harder ones are often label errors.

    Args:
        margin: margin of the cosine similarity, at least 0.
    """

    def __init__(self, *, margin: float = 0.2) -> None:
        self.margin = margin

    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Select the negatives of each row."""
        positive = similarity.masked_fill(~relations.positive, -2.0).max(dim=1, keepdim=True)[0]
        farther = relations.negative & (similarity < positive)
        near = farther & (similarity > positive - self.margin)
        some = torch.where(farther.any(dim=1, keepdim=True), farther, relations.negative)
        nearest = similarity.masked_fill(~some, -2.0).max(dim=1, keepdim=True)[0]
        fallback = some & (similarity == nearest)
        kept = torch.where(near.any(dim=1, keepdim=True), near, fallback)
        return replace(relations, negative=kept)
