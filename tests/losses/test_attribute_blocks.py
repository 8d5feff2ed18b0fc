"""The loss of attribute blocks against a loop."""

import math

import pytest
import torch
from torch import Tensor

from fashret.losses import AttributeBlocks
from fashret.types import Batch, TrainingItems
from support.attribute_blocks import LAYOUT, embeddings


def test_the_loss_of_blocks_equals_a_loop() -> None:
    codes = torch.tensor([0, 0, 1, -1, 1, 0])
    nothing = torch.full((6,), -1)
    term = AttributeBlocks(weight=0.5, temperature=0.2)
    described = {"neckline": (codes, ["round", "v_neck"]), "material": (nothing, [])}
    items = TrainingItems(torch.arange(6), nothing, nothing, described, list("abcdef"))
    term.prepare(items, None)  # type: ignore[arg-type]  # it needs no catalog
    images, texts = embeddings(6, 0).requires_grad_(), embeddings(6, 1)
    caption = torch.tensor([0, 1, 2, 3, 4, -1])
    value = term(images, texts, Batch(index=torch.arange(6), caption=caption), LAYOUT)

    def direction(similarity: Tensor, allowed: Tensor) -> float:
        s, losses = similarity.tolist(), []
        for i in range(6):
            known = [j for j in range(6) if allowed[i, j] and codes[i] >= 0 and codes[j] >= 0]
            right = [j for j in known if codes[i] == codes[j]]
            if right and len(right) < len(known):
                whole = math.log(sum(math.exp(s[i][j] / 0.2) for j in known))
                losses.append(whole - sum(s[i][j] / 0.2 for j in right) / len(right))
        return sum(losses) / len(losses)

    photos, said = LAYOUT.block(images, "neckline"), LAYOUT.block(texts, "neckline")
    other = ~torch.eye(6, dtype=torch.bool)
    told = (caption >= 0)[None].expand(6, 6)
    against = [(photos @ photos.T, other), (photos @ said.T, told)]
    expected = sum(direction(s, m) + direction(s.T, m.T) for s, m in against) / 4
    assert float(value.detach()) == pytest.approx(0.5 * expected, rel=1e-5)
    value.backward()
    assert images.grad is not None
    moved = images.grad.abs() > 0
    assert moved[:, 5:8].any(dim=1).tolist() == [True, True, True, False, True, True]
    assert not moved[:, :5].any()
    assert not moved[:, 8:].any()
