"""Grades of positives: equal ones change nothing, others weigh the pairs."""

import pytest
import torch
from torch import Tensor, nn

from fashret.losses import Circle, InfoNCE, MultiSimilarity, SigLIP, SupCon, Triplet
from fashret.types import Relations
from support.batches import embeddings

LOSSES = [InfoNCE, SupCon, Triplet, MultiSimilarity, Circle]


def relations(seed: int, weight: Tensor | None) -> Relations:
    positive = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed)) < 0.4
    positive |= torch.eye(6, dtype=torch.bool)
    return Relations(positive, ~positive, None if weight is None else weight * positive)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_grades_are_no_grades(loss: type[nn.Module]) -> None:
    rows, columns = embeddings(3)
    plain = loss()(rows, columns, relations(0, None))
    graded = loss()(rows, columns, relations(0, torch.full((6, 6), 0.3)))
    assert float(graded) == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("loss", [*LOSSES, SigLIP])
def test_a_pair_of_a_small_grade_hardly_counts(loss: type[nn.Module]) -> None:
    rows, columns = embeddings(4)
    positive = torch.eye(6, dtype=torch.bool)
    weight = torch.ones(6, 6)
    weight[2, 2] = 1e-6

    def gradient(given: Relations) -> Tensor:
        rows.grad = columns.grad = None
        # The negatives of the pair are left out too, so that its gradient is its positive's.
        loss()(rows, columns, given).backward()
        assert rows.grad is not None
        return rows.grad[2].norm()

    negative = ~positive
    negative[2] = False
    negative[2, 0] = True
    graded = gradient(Relations(positive, negative, weight * positive))
    plain = gradient(Relations(positive, negative))
    assert float(plain) > 0
    if loss is not SigLIP:  # whose negatives count whatever the grades are
        assert float(graded) < 0.8 * float(plain) + 1e-6
    assert float(graded) != pytest.approx(float(plain), rel=1e-3)


def test_infonce_weighs_each_pair_by_its_grade() -> None:
    rows, columns = embeddings(5)
    positive = torch.eye(6, dtype=torch.bool)
    positive[0, 1] = True  # two answers of the first query
    weight = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) * positive
    logits = (rows @ columns.T / 0.07).detach()

    def direction(s: Tensor, p: Tensor, w: Tensor) -> float:
        total = norm = 0.0
        for i in range(6):
            others = s[i][~p[i]].exp().sum()
            mates = p[i].nonzero()[:, 0].tolist()
            for j in mates:
                pair = -(s[i, j].exp() / (s[i, j].exp() + others)).log()
                total += float(w[i, j] * pair) / len(mates)
                norm += float(w[i, j]) / len(mates)
        return total / norm

    expected = (direction(logits, positive, weight) + direction(logits.T, positive.T, weight.T)) / 2
    value = InfoNCE()(rows, columns, Relations(positive, ~positive, weight))
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_siglip_weighs_positives_alone() -> None:
    rows, columns = embeddings(6)
    positive = torch.eye(6, dtype=torch.bool)
    weight = torch.rand(6, 6, generator=torch.Generator().manual_seed(2)) * positive
    logits = (10.0 * rows @ columns.T - 10.0).detach()
    expected = 0.0
    for i in range(6):
        for j in range(6):
            signed = logits[i, j] if positive[i, j] else -logits[i, j]
            factor = weight[i, j] if positive[i, j] else 1.0
            expected -= float(factor * torch.nn.functional.logsigmoid(signed)) / 6
    value = SigLIP()(rows, columns, Relations(positive, ~positive, weight))
    assert float(value) == pytest.approx(expected, rel=1e-5)
