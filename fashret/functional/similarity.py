"""Embeddings that can be sliced, and the fusion of two of them into one inner product."""

import math
from typing import Protocol

import torch
from torch import Tensor


class Vectors(Protocol):
    """Rows of embeddings that are read in pieces: a tensor, a memory-mapped file, a fusion."""

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def __getitem__(self, rows: "slice | Tensor") -> Tensor:
        """The rows of a slice or of a long tensor, (n, D) float."""
        ...


class Fused:
    """Image and text embeddings as one: `w (image . image) + (1 - w) (text . text)`.

    The weighted sum of two inner products is the inner product of the concatenated embeddings
    scaled by the roots of the weights, so that a fused search is a plain search. Pieces are
    made when they are read: the concatenation of a whole catalog is never held.

    Args:
        image: (N, D) embeddings.
        text: (N, E) embeddings, zero where an item has no text.
        weight_image: w, between 0 and 1.
    """

    def __init__(self, image: Vectors, text: Vectors, weight_image: float) -> None:
        self.image = image
        self.text = text
        self.scale_image = math.sqrt(weight_image)
        self.scale_text = math.sqrt(1.0 - weight_image)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return torch.cat(
            [self.image[rows] * self.scale_image, self.text[rows] * self.scale_text], dim=-1
        )
