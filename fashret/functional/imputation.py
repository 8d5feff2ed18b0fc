"""Imputation of text embeddings for items without a text."""

from torch import Tensor

from fashret.functional.blocks import Layout
from fashret.functional.topk import topk

NEIGHBOURS = 5
"""Nearest items with a text, whose mean text embedding an item without a text gets."""


def impute_texts(image: Tensor, text: Tensor, layout: Layout) -> Tensor:
    """Impute missing text embeddings of gallery items from the items with the nearest photos.

    A missing text must not count as similarity 0: the texts of two items at random have a positive
    cosine in every CLIP-like model, so that an item without one would rank below everything. Its
    text embedding is the mean m of its neighbours' text embeddings, divided by the square root of
    the length of m, so that a fused search stays one inner product. With m itself the text
    similarity would be the mean over the neighbours, too little for a query that describes this
    very item; a unit vector along m is nearer to every query than the texts that it was averaged
    from, and displaces items that have a text. The length in between retrieves items without a
    text more often than image search does, and the others as often as if no text were missing
    (docs/metrics.md has the numbers). If no item has a text, the image embeddings are returned.

    Only for the gallery. A query without a text keeps its zero vector, which adds the same text
    similarity to every item, so that it searches by its photo alone.

    Args:
        image: (n, D) float embeddings of the photos, L2-normalised.
        text: (n, D) float embeddings of the texts, L2-normalised; zero where an item has no text.
        layout: columns of each block; photos are compared by the general block.

    Returns:
        (n, D) float text embeddings; imputed ones have a length of at most 1.
    """
    missing = ~text.any(dim=1)
    if not bool(missing.any()):
        return text
    with_text = (~missing).nonzero()[:, 0]
    if not len(with_text):
        return image
    photos = layout.block(image)
    neighbours = topk(photos[missing], photos[with_text], min(NEIGHBOURS, len(with_text))).rows
    imputed = text.clone()
    mean = text[with_text][neighbours].mean(dim=1)
    imputed[missing] = mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-6).sqrt()
    return imputed
