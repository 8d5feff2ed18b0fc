"""Terms beside a contrastive loss, each against a loop that says the same slowly."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_losses import batch, embeddings
from torch import Tensor, nn
from torch.nn.functional import normalize

from fashret.functional.relations import pair_relations
from fashret.losses import (
    AnchorToBaseline,
    AttributeClassification,
    Composite,
    HardNegatives,
    InfoNCE,
    PairTiers,
)
from fashret.types import Batch, Described, TrainingItems


def catalog(image: Tensor, text: Tensor) -> Any:
    return SimpleNamespace(image=image, text=text)


def items(described: Described, **tiers: list[str]) -> TrainingItems:
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


def test_the_parts_of_a_composite_add_up() -> None:
    loss = Composite(contrastive=InfoNCE(), terms={"attributes": classification(category=1.0)})
    images, texts = embeddings()
    relations = pair_relations(batch(), batch())
    parts = loss.parts(images, texts, relations, batch())
    assert set(parts) == {"contrastive", "attributes"}
    assert float(parts["contrastive"]) == float(InfoNCE()(images, texts, relations))
    assert float(parts["attributes"]) > 0.0
    assert {name for name, _ in loss.named_parameters()} == {
        "contrastive.log_scale",
        "terms.attributes.directions.of_category",
    }


def test_the_anchor_is_the_distance_from_the_untrained_model() -> None:
    images, texts = embeddings()
    before, said = embeddings(7)
    with torch.no_grad():
        said[3] = 0.0  # an item without text
        texts[3] = 0.0
    term = AnchorToBaseline(weight=2.0)
    term.prepare(items({}), catalog(before.detach(), said.detach()))
    rows = [4, 3, 0]
    value = term(images[:3], texts[[4, 3, 0]], Batch(index=torch.tensor(rows)))
    photo = sum(1 - float(images[i] @ before[row]) for i, row in enumerate(rows)) / 3
    text = sum(1 - float(texts[row] @ said[row]) for row in (4, 0)) / 3
    assert float(value) == pytest.approx(2.0 * (photo + text) / 2, rel=1e-5)
    untouched = term(before[rows], said[rows], Batch(index=torch.tensor(rows)))
    assert float(untouched) == pytest.approx(0.0, abs=1e-6)


GARMENTS: Described = {
    "category": (torch.tensor([0, 0, 0, 0, 1, 0]), ["shirts", "skirts"]),
    "material": (torch.tensor([0, 0, 0, 1, 1, -1]), ["cotton", "silk"]),
    "neckline": (torch.tensor([0, 1, 1, 1, -1, -1]), ["round", "v_neck"]),
}
"""Items 0 and 1 are one product, 1 and 2 are alike, 2 and 3 have one caption."""


def test_pair_tiers_equal_a_loop() -> None:
    term = PairTiers(weight=0.5, tiers={"strong": 1.0, "medium": 0.3, "weak": 0.2}, temperature=0.2)
    term.prepare(items(GARMENTS, medium=["material"], weak=["neckline"]), catalog(*embeddings()))
    images, texts = embeddings()
    value = term(images, texts, batch())
    similarity = (images @ images.T).tolist()

    def level(positive: dict[int, list[int]], negative: dict[int, list[int]]) -> float:
        losses = []
        for i in positive.keys() & negative.keys():
            both = sum(math.exp(similarity[i][j] / 0.2) for j in positive[i] + negative[i])
            own = sum(similarity[i][j] / 0.2 for j in positive[i]) / len(positive[i])
            losses.append(math.log(both) - own)
        return sum(losses) / len(losses)

    # By hand. Item 3 is silk with the neckline of 1 and 2; 5 is a shirt of which no more is known.
    strong = level(
        {0: [1], 1: [0, 2], 2: [1]},
        {0: [2, 3, 4], 1: [3, 4], 2: [0, 4], 3: [0, 1, 4], 4: [0, 1, 2, 3, 5], 5: [4]},
    )
    medium = level(
        {0: [1, 2], 1: [0, 2], 2: [0, 1]},
        {0: [3, 4], 1: [3, 4], 2: [4], 3: [0, 1, 4], 4: [0, 1, 2, 3, 5], 5: [4]},
    )
    weak = level(
        {0: [1, 2], 1: [0, 2, 3], 2: [0, 1, 3], 3: [1, 2]},
        {0: [3, 4], 1: [4], 2: [4], 3: [0, 4], 4: [0, 1, 2, 3, 5], 5: [4]},
    )
    assert float(value) == pytest.approx(0.5 * (strong + 0.3 * medium + 0.2 * weak), rel=1e-5)
    value.backward()
    assert images.grad is not None
    assert bool(images.grad.isfinite().all())


def test_hard_negatives_equal_a_loop() -> None:
    term = HardNegatives(weight=0.5, margin=0.2, nearest=2, attributes=["neckline"])
    term.prepare(items(GARMENTS), catalog(*embeddings()))
    images, texts = embeddings()
    value = term(images, texts, batch())
    similarity = images @ texts.T
    # 0 and 1 differ in the neckline and are one product; 4 and 5 have none that is known.
    differ = {0: [2, 3], 2: [0], 3: [0]}

    def direction(s: list[list[float]]) -> float:
        rows = []
        for i, others in differ.items():
            beyond = [(s[i][j] - s[i][i] + 0.2) / 0.05 for j in others]
            rows.append(sum(0.05 * math.log1p(math.exp(b)) for b in beyond) / len(others))
        return sum(rows) / len(rows)

    expected = (direction(similarity.tolist()) + direction(similarity.T.tolist())) / 2
    assert float(value) == pytest.approx(0.5 * expected, rel=1e-4)
    assert float(term.logged["hard_negatives"]) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    "term",
    [PairTiers(weight=1.0, tiers={"strong": 1.0, "weak": 1.0}), HardNegatives(weight=1.0)],
    ids=lambda term: type(term).__name__,
)
def test_a_term_over_nothing_that_is_known_is_zero(term: nn.Module) -> None:
    described = {name: (torch.full((6,), -1), []) for name in ("category", "neckline")}
    known = items(described, weak=["neckline"])
    alone = TrainingItems(known.rows, torch.full((6,), -1), known.caption, described, known.ids)
    term.prepare(alone, catalog(*embeddings()))
    images, texts = embeddings()
    value = term(images, texts, batch())
    assert float(value) == 0.0
    value.backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) == 0.0
