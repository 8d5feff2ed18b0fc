"""Distillation from the untrained model against a loop."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.losses import (
    Distillation,
)
from fashret.types import Batch, TrainingItems
from support.batches import catalog, embeddings, items


def divergence(before: list[list[float]], now: list[list[float]], temperature: float) -> float:
    """The sum over rows of KL(softmax(before / t) || softmax(now / t))."""
    total = 0.0
    for teacher, student in zip(before, now, strict=True):
        p, q = ([math.exp(s / temperature) for s in row] for row in (teacher, student))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    return total


@pytest.mark.parametrize("varied", [False, True])
def test_distillation_is_the_divergence_from_what_the_untrained_model_finds(varied: bool) -> None:
    photos, said = (part.detach() for part in embeddings(7))
    term = Distillation(weight=2.0, temperature=0.2)
    term.prepare(items({}), catalog(photos, said))
    images, texts = embeddings(8)
    rows = [4, 3, 0, 5, 1]
    given = Batch(index=torch.tensor(rows), caption=torch.tensor([0, 7, 2, -1, 0]))
    told = [0, 1, 2, 4]  # item 5 has no caption
    if varied:
        given["caption_choice"] = torch.tensor([0, 2, 0, 0, 1])
        told = [0, 2]  # and the captions of 3 and 1 are made of attributes
    value = term(images[:5], texts[:5], given)
    before = [[float(photos[rows[i]] @ said[rows[j]]) for j in told] for i in told]
    now = [[float(images[i].detach() @ texts[j].detach()) for j in told] for i in told]
    turned = [list(column) for column in zip(*before, strict=True)]
    turned_now = [list(column) for column in zip(*now, strict=True)]
    away = (divergence(before, now, 0.2) + divergence(turned, turned_now, 0.2)) / 2 / len(told)
    assert float(value.detach()) == pytest.approx(2.0 * 0.2**2 * away, rel=1e-4)
    assert float(term(photos[rows], said[rows], given)) == pytest.approx(0.0, abs=1e-6)
    value.backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=1) > 0).nonzero()[:, 0].tolist() == told


def test_distillation_of_a_batch_without_captions_is_zero() -> None:
    photos, said = embeddings(7)
    term = Distillation(weight=2.0, temperature=0.2)
    term.prepare(items({}), catalog(photos.detach(), said.detach()))
    images, texts = embeddings()
    value = term(images, texts, Batch(index=torch.arange(6), caption=torch.full((6,), -1)))
    assert float(value.detach()) == 0.0
    value.backward()
    assert images.grad is not None


pytestmark = pytest.mark.usefixtures("stand_ins")


class Before:
    """The untrained model's catalog of six items."""

    def __init__(self) -> None:
        drawn = torch.Generator().manual_seed(4)
        self.image = normalize(torch.randn(6, 8, generator=drawn), dim=1)
        self.text = normalize(torch.randn(6, 8, generator=drawn), dim=1)


def distilled(images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
    loss = Distillation(weight=2.0, temperature=0.5)
    nothing = torch.arange(6)
    loss.prepare(TrainingItems(nothing, nothing, nothing, {}, []), Before())
    value: Tensor = loss(images, texts, batch)
    return value


def test_distillation_is_zero_where_nothing_moved() -> None:
    rows = torch.tensor([4, 0, 2])
    teacher = Before()
    batch = Batch(index=rows, caption=torch.tensor([1, 2, 3]))
    assert float(distilled(teacher.image[rows], teacher.text[rows], batch)) == pytest.approx(
        0, abs=1e-7
    )
    turned = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    # A rotation of the whole space moves every embedding and no neighbour.
    still = distilled(teacher.image[rows] @ turned, teacher.text[rows] @ turned, batch)
    assert float(still) == pytest.approx(0, abs=1e-6)


def test_distillation_equals_a_loop() -> None:
    drawn = torch.Generator().manual_seed(5)
    images, texts = (normalize(torch.randn(4, 8, generator=drawn), dim=1) for _ in range(2))
    rows = torch.tensor([4, 0, 2, 5])
    teacher = Before()
    kept = [0, 1, 3]  # the third has no caption
    total = 0.0
    for direction in range(2):
        for i in kept:
            was, now = [], []
            for j in kept:
                photo, word = (i, j) if direction == 0 else (j, i)
                was.append(float(teacher.image[rows[photo]] @ teacher.text[rows[word]]) / 0.5)
                now.append(float(images[photo] @ texts[word]) / 0.5)
            p = [math.exp(s) / sum(map(math.exp, was)) for s in was]
            q = [math.exp(s) / sum(map(math.exp, now)) for s in now]
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    batch = Batch(index=rows, caption=torch.tensor([1, 2, -1, 3]))
    expected = 2.0 * 0.5**2 * total / (2 * 3)
    assert float(distilled(images, texts, batch)) == pytest.approx(expected, rel=1e-5)


def test_distillation_leaves_out_made_captions_and_survives_none() -> None:
    images, texts = (torch.eye(8)[:2].clone().requires_grad_() for _ in range(2))
    batch = Batch(
        index=torch.tensor([1, 3]),
        caption=torch.tensor([1, 2]),
        caption_choice=torch.tensor([1, 2]),
    )
    value = distilled(images, texts, batch)
    value.backward()
    assert float(value) == 0.0
    assert images.grad is not None
