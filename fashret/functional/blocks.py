"""Embeddings of several blocks side by side: a general one, and one for each attribute head."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

GENERAL = "general"
"""The name of the general block, which every model has: the embedding of the model itself."""


@dataclass(frozen=True)
class Layout:
    """The columns of an embedding that each block takes.

    Attributes:
        columns: (start, end) column of each block by its name, the general block first.
    """

    columns: Mapping[str, tuple[int, int]]

    @classmethod
    def from_widths(cls, widths: Mapping[str, int]) -> "Layout":
        """Lay out blocks side by side.

        Args:
            widths: number of columns by block, in order, the general block first.
        """
        columns, start = {}, 0
        for name, width in widths.items():
            columns[name] = (start, start + width)
            start += width
        return cls(columns)

    @property
    def dim(self) -> int:
        """The width of the whole embedding, all blocks together."""
        return max(end for _, end in self.columns.values())

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that have a block of their own."""
        return tuple(name for name in self.columns if name != GENERAL)

    def block(self, embeddings: Tensor, name: str = GENERAL) -> Tensor:
        """Cut one block out of (n, D) embeddings: (n, d), L2-normalised again, or zero."""
        start, end = self.columns[name]
        return embeddings[:, start:end] * math.sqrt(len(self.columns))

    def weighted(self, queries: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Scale the blocks of queries, so that some attributes count more in a search.

        The inner product of the result with an item is the weighted mean of the blocks' cosines.
        The general block has the weight 1, an attribute that is not named 0. The items that are
        searched need no change.

        Args:
            queries: (n, D) float embeddings.
            weights: weight by attribute, at least 0; names without a block are ignored.

        Returns:
            (n, D) float.
        """
        if not self.attributes:
            return queries
        weight_by_block = {name: weights.get(name, 0.0) for name in self.attributes}
        weight_by_block = {GENERAL: 1.0} | weight_by_block
        scale = torch.cat(
            [
                queries.new_full((end - start,), weight_by_block[name])
                for name, (start, end) in self.columns.items()
            ]
        )
        return queries * scale * (len(self.columns) / sum(weight_by_block.values()))
