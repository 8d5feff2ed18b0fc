"""Terms beside a contrastive loss, each against a loop that says the same slowly."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_losses import batch, embeddings
from torch import Tensor, nn
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.functional.relations import pair_relations
from fashret.losses import (
    AnchorToBaseline,
    AttributeBlocks,
    AttributeClassification,
    Composite,
    Distillation,
    HardNegatives,
    InfoNCE,
    PairTiers,
    SupCon,
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
        given["stated"] = torch.tensor([0, 2, 0, 0, 1])
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


def test_the_anchor_lets_captions_go_that_were_made_of_attributes() -> None:
    images, texts = embeddings()
    before, said = (part.detach() for part in embeddings(7))
    term = AnchorToBaseline(weight=1.0)
    term.prepare(items({}), catalog(before, said))
    given = Batch(index=torch.arange(6), stated=torch.tensor([0, 1, 0, 2, 0, 0]))
    value = term(images, texts, given)
    photo = sum(1 - float(images[i] @ before[i]) for i in range(6)) / 6
    text = sum(1 - float(texts[i] @ said[i]) for i in (0, 2, 4, 5)) / 6  # of all 6
    assert float(value.detach()) == pytest.approx((photo + text) / 2, rel=1e-5)


def test_every_attribute_of_the_data_is_classified_by_default() -> None:
    described: Described = {
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: AttributeClassification(weight=1.0, attributes=None, temperature=0.0),
            "temperature is 0.0: it must be above 0",
        ),
        (lambda: AttributeBlocks(temperature=0.0), r"block_loss.temperature is 0.0"),
        (lambda: HardNegatives(weight=1.0, temperature=0.0), "temperature=0.0 must be above 0"),
        (lambda: HardNegatives(weight=1.0, nearest=0), "nearest=0 at least 1"),
        (
            lambda: PairTiers(weight=1.0, tiers={"strong": 1.0, "strange": 1.0}),
            r"tiers names strange; there are strong, medium, weak",
        ),
    ],
)
def test_a_term_that_cannot_be_is_answered(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "term",
    [
        HardNegatives(weight=1.0, attributes=["collar"]),
        AttributeClassification(weight=1.0, attributes={"collar": 1.0}),
    ],
    ids=lambda term: type(term).__name__,
)
def test_an_attribute_that_the_data_lacks_is_named(term: Any) -> None:
    message = "attributes names collar; the data has category, material, neckline"
    with pytest.raises(ConfigError, match=message):
        term.prepare(items(GARMENTS), catalog(*embeddings()))


def test_terms_with_a_fixed_temperature_learn_nothing_of_their_own() -> None:
    for term in (AttributeBlocks(), PairTiers(weight=1.0, tiers={"strong": 1.0})):
        assert not list(term.parameters())
        assert not term.state_dict()


def test_terms_may_have_the_smallest_allowed_options() -> None:
    HardNegatives(weight=1.0, temperature=1e-3, nearest=1)
    AttributeClassification(weight=1.0, attributes=None, temperature=1e-3)
    AttributeBlocks(temperature=1e-3)


@pytest.mark.parametrize("nearest", [1, 2, 4, 50])
def test_only_the_nearest_hard_negatives_of_each_item_count(nearest: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def codes(high: int) -> Tensor:
        return torch.randint(-1, high, (30,), generator=generator)

    category, neckline, product, caption = codes(2), codes(3), codes(9), codes(20)
    described = {
        "category": (category, ["a", "b"]),
        "neckline": (neckline, ["x", "y", "z"]),
    }
    known = TrainingItems(
        torch.arange(30), product, caption, described, [f"i{i}" for i in range(30)]
    )
    term = HardNegatives(weight=0.5, margin=0.2, nearest=nearest, temperature=0.1)
    images, texts = embeddings(20 + nearest, rows=30)
    term.prepare(known, catalog(images, texts))
    # The captions of the batch are others than those of the table.
    spoken = codes(20)
    given = Batch(index=torch.arange(30), product=product, caption=spoken)
    value = term(images, texts, given)

    def is_hard(i: int, j: int) -> bool:
        return (
            i != j
            and category[i] == category[j] != -1
            and neckline[i] != neckline[j]
            and -1 not in (neckline[i], neckline[j])
            and not product[i] == product[j] != -1
            and not caption[i] == caption[j] != -1
            and spoken[i] != spoken[j]
            and -1 not in (spoken[i], spoken[j])
        )

    hard = [[j for j in range(30) if is_hard(i, j)] for i in range(30)]
    assert sum(map(bool, hard)) >= 10
    assert max(map(len, hard)) > 4

    def direction(s: list[list[float]]) -> float:
        rows = []
        for i, others in enumerate(hard):
            found = sorted(others, key=lambda j: -s[i][j])[:nearest]
            if found:
                beyond = [(s[i][j] - s[i][i] + 0.2) / 0.1 for j in found]
                rows.append(sum(0.1 * math.log1p(math.exp(b)) for b in beyond) / len(found))
        return sum(rows) / len(rows)

    s = (images @ texts.T).detach()
    expected = 0.5 * (direction(s.tolist()) + direction(s.T.tolist())) / 2
    assert float(value.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(term.logged["hard_negatives"]) == pytest.approx(sum(map(len, hard)) / 30)
    value.backward()
    assert images.grad is not None
    assert bool(images.grad.isfinite().all())


def test_tiers_without_a_weight_are_left_out() -> None:
    images, texts = embeddings()
    term = PairTiers(weight=1.0, tiers={"strong": 1.0, "medium": 0.0}, temperature=0.2)
    term.prepare(items(GARMENTS, medium=["material"], weak=["neckline"]), catalog(images, texts))
    alone = term(images, texts, batch())
    assert set(term.logged) == {"loss_tiers_strong"}
    assert float(alone.detach()) == pytest.approx(float(term.logged["loss_tiers_strong"]))
    every = PairTiers(weight=1.0, tiers={"strong": 1.0, "medium": 1.0, "weak": 1.0})
    every.prepare(items(GARMENTS, medium=["material"], weak=["neckline"]), catalog(images, texts))
    total = every(images, texts, batch())
    assert set(every.logged) == {"loss_tiers_strong", "loss_tiers_medium", "loss_tiers_weak"}
    assert float(total.detach()) == pytest.approx(float(sum(every.logged.values())), rel=1e-5)


def test_a_composite_prepares_its_terms_and_speaks_for_its_contrastive_loss() -> None:
    terms = {
        "anchor": AnchorToBaseline(weight=1.0),
        "attributes": AttributeClassification(weight=1.0, attributes=None),
        "nothing": None,
    }
    loss = Composite(contrastive=SupCon(temperature=0.2), terms=terms)
    images, texts = embeddings()
    loss.prepare(items(GARMENTS), catalog(images.detach(), texts.detach()))
    relations = pair_relations(batch(), batch(), several_positives=loss.several_positives)
    parts = loss.parts(images, texts, relations, batch())
    assert list(parts) == ["contrastive", "anchor", "attributes"]
    assert float(parts["anchor"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert set(loss.logged()) == {"accuracy_category", "accuracy_material", "accuracy_neckline"}
    assert loss.several_positives
    assert loss.temperature is not None
    assert float(loss.temperature.detach()) == pytest.approx(0.2)
    plain = Composite(contrastive=nn.Identity(), terms={})
    assert plain.temperature is None
    assert not plain.several_positives
    assert plain.logged() == {}
