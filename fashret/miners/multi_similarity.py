"""Multi-similarity mining of a batch's informative pairs."""

from dataclasses import replace

from torch import Tensor

from fashret.miners.online import OnlineMiner
from fashret.types import Relations


class MultiSimilarityMiner(OnlineMiner):
    """Keeps close negatives and distant positives.

    A negative is kept if it is closer than the farthest positive, a positive if it is farther than
    the closest negative, both within a margin (Wang et al., Multi-Similarity Loss with General
    Pair Weighting for Deep Metric Learning, 2019, equations 8 and 9).

    Args:
        margin: margin of the cosine similarity, at least 0.
    """

    def __init__(self, *, margin: float = 0.1) -> None:
        self.margin = margin

    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Select the positives and the negatives of each row."""
        farthest = similarity.masked_fill(~relations.positive, 2.0).min(dim=1, keepdim=True)[0]
        nearest = similarity.masked_fill(~relations.negative, -2.0).max(dim=1, keepdim=True)[0]
        negative = relations.negative & (similarity + self.margin > farthest)
        positive = relations.positive & (similarity - self.margin < nearest)
        return replace(relations, positive=positive, negative=negative)
