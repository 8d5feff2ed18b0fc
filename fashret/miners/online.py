"""What miners that look at one batch have in common."""

from abc import abstractmethod

from torch import Tensor

from fashret.miners.none import NoMiner
from fashret.types import Relations


class OnlineMiner(NoMiner):
    """Keeps the pairs of a batch that are worth it to their row or to their column."""

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Narrow the relations of one batch."""
        similarity = rows @ columns.T
        one = self.of_rows(similarity, relations, dim=rows.shape[1])
        turned = Relations(relations.positive.T, relations.negative.T)
        other = self.of_rows(similarity.T, turned, dim=rows.shape[1])
        return Relations(one.positive | other.positive.T, one.negative | other.negative.T)

    @abstractmethod
    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """The pairs of a (B, M) matrix of `dim`-wide embeddings that are worth it to their row."""
