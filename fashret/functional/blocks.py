"""Embeddings in blocks: one for everything, and one an attribute beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

GENERAL = "general"
"""The block that every model has: its own embedding."""


@dataclass(frozen=True)
class Layout:
    """Which columns of an embedding are whose.

    Attributes:
        columns: start and end by block, in order, the general block first.
    """

    columns: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, widths: Mapping[str, int]) -> "Layout":
        """Blocks of some widths side by side."""
        columns, start = {}, 0
        for name, width in widths.items():
            columns[name] = (start, start + width)
            start += width
        return cls(columns)

    @property
    def dim(self) -> int:
        """The width of the whole."""
        return max(end for _, end in self.columns.values())

    @property
    def attributes(self) -> tuple[str, ...]:
        """The blocks beside the general one."""
        return tuple(name for name in self.columns if name != GENERAL)

    def block(self, embeddings: Tensor, name: str = GENERAL) -> Tensor:
        """(n, D) -> (n, d): one block, L2-normalised again, or zero."""
        start, end = self.columns[name]
        return embeddings[:, start:end] * math.sqrt(len(self.columns))

    def weighted(self, queries: Tensor, weights: Mapping[str, float]) -> Tensor:
        """Queries whose inner product with a catalog is the weighted mean of the blocks' cosines.

        The general block has the weight 1, one that is not named 0. The catalog stays as it is.

        Args:
            queries: (n, D).
            weights: by block; names of no block are passed over.
        """
        if not self.attributes:
            return queries
        of = {GENERAL: 1.0} | {name: weights.get(name, 0.0) for name in self.attributes}
        scale = torch.cat(
            [
                queries.new_full((end - start,), of[name])
                for name, (start, end) in self.columns.items()
            ]
        )
        return queries * scale * (len(self.columns) / sum(of.values()))
