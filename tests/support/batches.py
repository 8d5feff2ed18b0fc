"""A batch, embeddings and training items for losses."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.losses import AttributeClassification
from fashret.types import Batch, Labels, TrainingItems


def batch() -> Batch:
    """Six items: 0 and 1 are one product, 2 and 3 have one caption, 5 has no caption."""
    return Batch(
        index=torch.arange(6),
        product=torch.tensor([0, 0, 1, 2, -1, -1]),
        caption=torch.tensor([0, 1, 2, 2, 3, -1]),
    )


def embeddings(seed: int = 0, rows: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [
        normalize(torch.randn(rows, 8, generator=generator), dim=1).requires_grad_()
        for _ in range(2)
    ]
    return made[0], made[1]


def catalog(image: Tensor, text: Tensor) -> Any:
    return SimpleNamespace(image=image, text=text)


def items(described: Labels, **tiers: list[str]) -> TrainingItems:
    """Those of `batch`; the last is not trained on."""
    known = batch()
    return TrainingItems(
        torch.arange(5), known["product"], known["caption"], described, list("abcdef"), tiers
    )


def classification(**attributes: float) -> AttributeClassification:
    torch.manual_seed(0)
    term = AttributeClassification(weight=0.5, attributes=attributes, temperature=0.2)
    described = {
        "category": (torch.tensor([0, 1, 1, 0, 1, 0]), ["shirts", "skirts"]),
        "colour": (torch.tensor([0, -1, 2, -1, -1, -1]), ["blue", "green", "red"]),
        "fabric": (torch.full((6,), -1), []),
    }
    photos = normalize(torch.randn(6, 8), dim=1)
    term.prepare(items(described), catalog(photos, photos))
    for name, (codes, values) in described.items():
        if name in attributes:
            for code in range(len(values)):
                mean = photos[:5][codes[:5] == code].sum(dim=0)  # the last is no training item
                assert torch.allclose(
                    term.directions[f"of_{name}"][code], normalize(mean, dim=0), atol=1e-6
                )
    return term


GARMENTS: Labels = {
    "category": (torch.tensor([0, 0, 0, 0, 1, 0]), ["shirts", "skirts"]),
    "material": (torch.tensor([0, 0, 0, 1, 1, -1]), ["cotton", "silk"]),
    "neckline": (torch.tensor([0, 1, 1, 1, -1, -1]), ["round", "v_neck"]),
}
"""Items 0 and 1 are one product, 1 and 2 are alike, 2 and 3 have one caption."""
