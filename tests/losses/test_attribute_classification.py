"""Classification of attributes against a loop."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from fashret.losses import (
    AttributeClassification,
)
from fashret.types import Batch, Labels
from support.batches import catalog, classification, embeddings, items


def test_attribute_classification_equals_a_loop() -> None:
    term = classification(category=1.0, colour=3.0, fabric=1.0)
    images, texts = embeddings()
    value = term(images[:3], texts[:3], Batch(index=torch.tensor([2, 0, 1])))
    assert set(term.logged) == {"accuracy_category", "accuracy_colour"}
    nearest = (images[:2] @ normalize(term.directions["of_colour"], dim=1).T).argmax(dim=1).tolist()
    right = sum(found == wanted for found, wanted in zip(nearest, [2, 0], strict=True))
    assert float(term.logged["accuracy_colour"]) == right / 2

    def mean(name: str, labels: list[int | None]) -> float:
        directions = normalize(term.directions[f"of_{name}"], dim=1)
        losses = []
        for image, label in zip(images[:3], labels, strict=True):
            if label is not None:
                terms = [math.exp(float(image @ w) / 0.2) for w in directions]
                losses.append(-math.log(terms[label] / sum(terms)))
        return sum(losses) / len(losses)

    expected = 0.5 * (mean("category", [1, 0, 1]) + 3.0 * mean("colour", [2, 0, None]))
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_value_gives_no_gradient_and_a_known_one_does() -> None:
    term = classification(colour=1.0)
    images, texts = embeddings()
    term(images, texts, Batch(index=torch.arange(6))).backward()
    assert images.grad is not None
    moved = images.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, False, True, False, False, False]
    images, texts = embeddings()
    value = term(images, texts, Batch(index=torch.tensor([1, 3, 4, 5, 1, 3])))
    assert float(value) == 0.0
    value.backward()


def test_every_attribute_of_the_data_is_classified_by_default() -> None:
    described: Labels = {
        "category": (torch.tensor([0, 1, 0, 1, 0, 1]), ["shirts", "skirts"]),
        "sleeve.length": (torch.tensor([0, -1, 1, -1, 0, 1]), ["short", "long", "other"]),
    }
    term = AttributeClassification(weight=1.0, attributes=None, temperature=0.5)
    photos = torch.eye(6)
    term.prepare(items(described), catalog(photos, photos))
    assert term.attributes == {"category": 1.0, "sleeve.length": 1.0}
    directions = term.directions["of_sleeve_length"].detach()
    # The mean of items 0 and 4, item 2 (5 is not trained on), and of nothing.
    expected = torch.zeros(3, 6)
    expected[0, [0, 4]] = 1 / math.sqrt(2)
    expected[1, 2] = 1.0
    assert torch.allclose(directions, expected)
    term(photos, photos, Batch(index=torch.arange(6)))
    assert float(term.logged["accuracy_category"]) == pytest.approx(5 / 6)  # 5 lies in no mean
    assert float(term.logged["accuracy_sleeve.length"]) == pytest.approx(3 / 4)


def test_directions_of_what_a_batch_does_not_know_have_a_gradient_of_zero() -> None:
    """Every process must have a gradient for every parameter."""
    term = classification(colour=1.0, category=1.0)
    images, texts = embeddings()
    term(images[:2], texts[:2], Batch(index=torch.tensor([1, 3]))).backward()
    grad = term.directions["of_colour"].grad
    assert grad is not None
    assert not grad.any()
    grad = term.directions["of_category"].grad
    assert grad is not None
    assert grad.any()
