"""What holds for every term beside a contrastive loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fashret.errors import ConfigError
from fashret.losses import (
    AttributeBlocks,
    AttributeClassification,
    HardNegatives,
    PairTiers,
)
from fashret.types import TrainingItems
from support.batches import GARMENTS, batch, catalog, embeddings, items


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
