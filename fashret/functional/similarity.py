"""Row-sliceable embeddings, and the fusion of image and text embeddings into one."""

import math
from typing import Protocol

import torch
from torch import Tensor


class Vectors(Protocol):
    """Embeddings that are read some rows at a time: a tensor, a memory-mapped file, a fusion."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, rows: "slice | Tensor") -> Tensor:
        """Read the rows of a slice or of a long tensor, (n, D) float."""
        ...


class Fused:
    """Image and text embeddings as one vector: `w (image . image) + (1 - w) (text . text)`.

    The weighted sum of two inner products is the inner product of the concatenated embeddings
    scaled by the square roots of the weights, so that a fused search is a plain search. Rows are
    concatenated when they are read: the concatenation of a whole catalog is never in memory.

    Args:
        image: (N, D) float image embeddings.
        text: (N, E) float text embeddings, zero where an item has no text.
        weight_image: weight w of the image similarity, 0 to 1.
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
