"""Towers that learn, and a batch for them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fashret.losses import InfoNCE
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.retriever import Retriever
from fashret.types import Batch, Relations
from support.architectures import spec

CAPTIONS = ["a dress", "a red dress with a round neck and long sleeves", "shoes", "a bag", "a hat"]


def towers(family: str, tmp_path: Path, **changes: Any) -> Retriever:
    given = spec(f"stand-in-{family}", **changes)
    retriever = Retriever.from_backbone(load_backbone(given, tmp_path))
    retriever.set_training(given)
    return retriever.train()


def batch_of(backbone: Backbone, items: int = 10) -> Batch:
    size = backbone.preprocess.size
    side = size if isinstance(size, int) else size[0]
    drawn = torch.Generator().manual_seed(1)
    return Batch(
        index=torch.arange(items),
        product=torch.arange(items),
        caption=torch.arange(items),
        images=torch.randn(items, 3, side, side, generator=drawn),
        tokens=backbone.tokenize([f"{CAPTIONS[i % 5]} {i}" for i in range(items)]),
    )


def gradients(retriever: Retriever) -> dict[str, Tensor]:
    """Of one InfoNCE step over ten items."""
    assert retriever.backbone is not None
    images, texts = retriever(batch_of(retriever.backbone))
    own = torch.eye(10, dtype=torch.bool)
    InfoNCE()(images, texts, Relations(own, ~own)).backward()
    return {n: p.grad for n, p in retriever.named_parameters() if p.grad is not None}


NO_IMAGE_PROJECTION = {"sigmoid"}
