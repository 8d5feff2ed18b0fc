"""Text embeddings for items without a text."""

from torch import Tensor

from fashret.functional.blocks import Layout
from fashret.functional.topk import topk

NEIGHBOURS = 3
"""Items with a text that stand for the text of an item without one."""


def impute_texts(image: Tensor, text: Tensor, layout: Layout) -> Tensor:
    """Give every item without a text the mean text embedding of its nearest photos.

    A missing text must not count as similarity 0: the texts of two items at random have a positive
    cosine in every CLIP-like model, so that an item without one would rank below everything. With
    the mean t of its neighbours' embeddings, the text part of a score, q . t, is the mean of the
    similarities that these neighbours have to the query, and a fused search stays one inner
    product. The mean is not normalised: a unit vector would be nearer to every query than the
    texts that it was made of. Where no item has a text, its own image embedding stands for it.

    It is for what is searched. A query without a text asks by its photo alone, which a zero vector
    does: the same text part for every item.

    Args:
        image: (n, D) embeddings, L2-normalised.
        text: (n, D) embeddings, L2-normalised; zero where an item has no text.
        layout: which columns belong to which block; photos are compared by the general one.

    Returns:
        (n, D) text embeddings, of a length of at most 1 where they are imputed.
    """
    missing = ~text.any(dim=1)
    if not bool(missing.any()):
        return text
    known = (~missing).nonzero()[:, 0]
    if not len(known):
        return image
    photos = layout.block(image)
    near = topk(photos[missing], photos[known], min(NEIGHBOURS, len(known))).rows
    completed = text.clone()
    completed[missing] = text[known][near].mean(dim=1)
    return completed
