"""Heads of fewer dimensions, and the untrained embeddings that losses compare them with."""

from typing import NamedTuple

import torch
from torch import Tensor

from fashret.catalog.folder import Catalog
from fashret.errors import ConfigError
from fashret.models.heads import principal_axes
from fashret.models.retriever import Retriever
from fashret.types import TrainingItems


class NarrowBaseline(NamedTuple):
    """The untrained embeddings on fewer axes, (N, d): what losses compare narrower ones with."""

    image: Tensor
    text: Tensor


def narrow_heads(
    retriever: Retriever, dim: int, items: TrainingItems, baseline: Catalog
) -> NarrowBaseline:
    """Give a retriever heads of fewer dimensions, those that keep most of the similarities.

    Raises:
        ConfigError: the embedding has no more dimensions.
    """
    width = retriever.image_head.out_features
    if dim >= width:
        raise ConfigError(
            f"model.dim={dim}: must be below {width}, the dimension of the embedding; null keeps it"
        )
    axes = principal_axes([baseline.image, baseline.text], items.rows, dim)
    retriever.narrow(axes)
    image, text = (
        torch.nn.functional.normalize(part.float() @ axes.T, dim=-1)
        for part in (baseline.image, baseline.text)
    )
    return NarrowBaseline(image, text)
