"""Composites of losses and terms."""

import pytest
from torch import nn

from fashret.errors import ConfigError
from fashret.losses import (
    AnchorToBaseline,
    AttributeClassification,
    Composite,
    InfoNCE,
    SupCon,
)
from fashret.losses.composite import contrastive_part
from support.batches import GARMENTS, batch, catalog, classification, embeddings, items


def test_the_parts_of_a_composite_add_up() -> None:
    loss = Composite(contrastive=InfoNCE(), terms={"attributes": classification(category=1.0)})
    images, texts = embeddings()
    parts = loss.term_values(images, texts, batch())
    assert set(parts) == {"attributes"}
    assert float(parts["attributes"]) > 0.0
    assert contrastive_part(loss) is loss.contrastive
    assert contrastive_part(loss.contrastive) is loss.contrastive
    assert {name for name, _ in loss.named_parameters()} == {
        "contrastive.log_scale",
        "terms.attributes.directions.of_category",
    }


def test_a_composite_prepares_its_terms_and_speaks_for_its_contrastive_loss() -> None:
    terms = {
        "anchor": AnchorToBaseline(weight=1.0),
        "attributes": AttributeClassification(weight=1.0, attributes=None),
        "nothing": None,
    }
    loss = Composite(contrastive=SupCon(temperature=0.2), terms=terms)
    images, texts = embeddings()
    loss.prepare(items(GARMENTS), catalog(images.detach(), texts.detach()))
    parts = loss.term_values(images, texts, batch())
    assert list(parts) == ["anchor", "attributes"]
    assert float(parts["anchor"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert set(loss.logged()) == {"accuracy_category", "accuracy_material", "accuracy_neckline"}
    assert loss.temperature is not None
    assert float(loss.temperature.detach()) == pytest.approx(0.2)
    plain = Composite(contrastive=nn.Identity(), terms={})
    assert plain.temperature is None
    assert plain.logged() == {}


@pytest.mark.parametrize("name", ["half", "type", "a.b"])
def test_a_name_that_a_module_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.terms.{name}: a term cannot have this name"):
        Composite(contrastive=InfoNCE(), terms={name: AnchorToBaseline(weight=1.0)})
