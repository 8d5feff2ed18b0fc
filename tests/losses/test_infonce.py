"""InfoNCE against a loop."""

import math

import pytest
import torch
from torch import Tensor, nn

from fashret.functional.relations import pair_relations
from fashret.losses import (
    InfoNCE,
)
from fashret.types import Relations
from support.batches import batch, embeddings


def test_infonce_equals_a_loop() -> None:
    rows, columns = embeddings()
    relations = pair_relations(batch(), batch())
    similarity = (rows @ columns.T).tolist()

    def direction(get: object, positive: Tensor, negative: Tensor) -> float:
        losses = []
        for i in range(6):
            others = [math.exp(get(i, j) / 0.1) for j in range(6) if negative[i, j]]  # type: ignore[operator]
            if positive[i, i] and others:
                own = math.exp(get(i, i) / 0.1)  # type: ignore[operator]
                losses.append(-math.log(own / (own + sum(others))))
        return sum(losses) / len(losses)

    expected = (
        direction(lambda i, j: similarity[i][j], relations.positive, relations.negative)
        + direction(lambda i, j: similarity[j][i], relations.positive.T, relations.negative.T)
    ) / 2
    value = InfoNCE(temperature=0.1)(rows, columns, relations)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_infonce_without_masks_is_cross_entropy() -> None:
    rows, columns = embeddings(1, 32)
    own = torch.eye(32, dtype=torch.bool)
    logits = rows @ columns.T / 0.07
    labels = torch.arange(32)
    expected = (
        nn.functional.cross_entropy(logits, labels) + nn.functional.cross_entropy(logits.T, labels)
    ) / 2
    value = InfoNCE()(rows, columns, Relations(own, ~own))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
