"""The base of online miners, which select pairs within one batch."""

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from fashret.miners.none import NoMiner
from fashret.types import Relations


class OnlineMiner(NoMiner):
    """Keeps the pairs of a batch that are selected for their row or for their column."""

    def select(self, rows: Tensor, columns: Tensor, relations: Relations) -> Relations:
        """Select pairs of one batch, in both directions; see `Miner.select`."""
        similarity = rows @ columns.T
        by_row = self.of_rows(similarity, relations, dim=rows.shape[1])
        transposed = Relations(relations.positive.T, relations.negative.T)
        by_column = self.of_rows(similarity.T, transposed, dim=rows.shape[1])
        return replace(
            relations,
            positive=by_row.positive | by_column.positive.T,
            negative=by_row.negative | by_column.negative.T,
        )

    @abstractmethod
    def of_rows(self, similarity: Tensor, relations: Relations, *, dim: int) -> Relations:
        """Select pairs for their rows.

        Args:
            similarity: (B, M) cosine similarities.
            relations: (B, M) masks of the valid pairs.
            dim: dimension of the embeddings.
        """
