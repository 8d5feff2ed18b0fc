"""Semi-hard negatives of a batch."""

import torch
from torch import Tensor

from fashret.miners.online import OnlineMiner
from fashret.types import Relations


class SemiHardMiner(OnlineMiner):
    """Keeps the negatives that are farther than a row's nearest positive, but not by a margin.

    Where a row has none of those, it keeps the nearest that is farther, else the nearest of all
    (Schroff et al., FaceNet, 2015). Harder ones are often mistakes of the labels.

    Args:
        margin: in cosine similarity.
    """

    def __init__(self, *, margin: float = 0.2) -> None:
        self.margin = margin

    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Narrow the negatives of each row."""
        positive = similarity.masked_fill(~relations.positive, -2.0).max(dim=1, keepdim=True)[0]
        farther = relations.negative & (similarity < positive)
        near = farther & (similarity > positive - self.margin)
        some = torch.where(farther.any(dim=1, keepdim=True), farther, relations.negative)
        nearest = similarity.masked_fill(~some, -2.0).max(dim=1, keepdim=True)[0]
        fallback = some & (similarity == nearest)
        kept = torch.where(near.any(dim=1, keepdim=True), near, fallback)
        return Relations(relations.positive, kept)
