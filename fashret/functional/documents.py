"""What stands for an item when typed queries search it: its photo, its text, or both."""

import torch
from torch import Tensor

DOCUMENTS = ("image", "text", "mixed")


def documents(kind: str, images: Tensor, texts: Tensor, weight_image: float) -> Tensor:
    """Return the embeddings of items as documents.

    Args:
        kind: `image`, `text`, or `mixed`: normalize(w photo + (1 - w) text).
        images: (N, D) float embeddings of the photos, L2-normalised.
        texts: (N, D) float embeddings of the texts; zero where there is no text, whose document is
            the photo alone.
        weight_image: the weight w of the photo, 0 to 1.

    Returns:
        (N, D) float, L2-normalised.
    """
    if kind == "image":
        return images
    weight = weight_image if kind == "mixed" else 0.0
    mixed = torch.nn.functional.normalize(weight * images + (1.0 - weight) * texts, dim=-1)
    return torch.where((texts != 0).any(dim=-1, keepdim=True), mixed, images)
