"""A miner of your own: the hardest negatives of each row."""

import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.miners.online import OnlineMiner
from fashret.types import Relations


class TopNegatives(OnlineMiner):
    """Keeps the most similar negatives of each row of a batch, and all positives.

    Args:
        keep: how many.
    """

    def __init__(self, *, keep: int = 20) -> None:
        if keep < 1:
            raise ConfigError(f"miner.keep is {keep}: it must be at least 1")
        self.keep = keep

    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Narrow the negatives of each row of a (B, M) matrix."""
        wrong = similarity.masked_fill(~relations.negative, -torch.inf)
        hardest = wrong.topk(min(self.keep, wrong.shape[1]), dim=1).indices
        chosen = torch.zeros_like(relations.negative).scatter(1, hardest, True)
        return Relations(relations.positive, relations.negative & chosen)
