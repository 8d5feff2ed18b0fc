"""Text embeddings for items without a text."""

from torch import Tensor

from fashret.functional.blocks import Layout
from fashret.functional.topk import topk

NEIGHBOURS = 5
"""Items with a text that stand for the text of an item without one."""


def impute_texts(image: Tensor, text: Tensor, layout: Layout) -> Tensor:
    """Give every item without a text that of its nearest photos, on average.

    A missing text must not count as similarity 0: the texts of two items at random have a positive
    cosine in every CLIP-like model, so that an item without one would rank below everything. Its
    embedding is the mean m of its neighbours', divided by the root of its length, so that a fused
    search stays one inner product. With m itself the text part would be the mean of what the
    neighbours have, too little for the query that means this very item; a unit vector along m is
    nearer to every query than the texts that it was made of, and takes the place of items that
    have a text. Halfway, items without a text are found more often than by image search, and the
    others as often as if no text were missing (docs/metrics.md has the numbers). Where no item has
    a text, its own image embedding stands for it.

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
    mean = text[known][near].mean(dim=1)
    completed[missing] = mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-6).sqrt()
    return completed
