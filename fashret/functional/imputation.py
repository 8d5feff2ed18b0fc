"""Text embeddings for items without a text."""

from torch import Tensor

from fashret.functional.blocks import Layout
from fashret.functional.topk import topk

NEIGHBOURS = 10
"""Items with a text whose embeddings an item without one takes the mean of."""


def impute_texts(image: Tensor, text: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Give every item without a text the mean text embedding of its nearest photos.

    A missing text must not count as similarity 0: the texts of two items at random have a positive
    cosine in every CLIP-like model, so that an item without one would rank below everything. With
    an imputed embedding a fused search stays one inner product, in which such an item is found by
    its photo and by what is said of photos like it. Where no item has a text, its own image
    embedding stands for it.

    Args:
        image: (n, D) embeddings, L2-normalised.
        text: (n, D) embeddings, L2-normalised; zero where an item has no text.
        layout: which columns belong to which block; each block of a mean is normalised.

    Returns:
        (n, D) text embeddings, and (n,) bool: those that were imputed.
    """
    missing = ~text.any(dim=1)
    if not bool(missing.any()):
        return text, missing
    known = (~missing).nonzero()[:, 0]
    if not len(known):
        return image, missing
    photos = layout.block(image)
    near = topk(photos[missing], photos[known], min(NEIGHBOURS, len(known))).rows
    means = text[known][near].mean(dim=1)
    completed = text.clone()
    completed[missing] = layout.normalized(means)
    return completed, missing
