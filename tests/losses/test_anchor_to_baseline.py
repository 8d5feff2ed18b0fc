"""The distance from the untrained model."""

import pytest
import torch

from fashret.losses import (
    AnchorToBaseline,
)
from fashret.types import Batch
from support.batches import catalog, embeddings, items


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


def test_the_anchor_lets_captions_go_that_were_made_of_attributes() -> None:
    images, texts = embeddings()
    before, said = (part.detach() for part in embeddings(7))
    term = AnchorToBaseline(weight=1.0)
    term.prepare(items({}), catalog(before, said))
    given = Batch(index=torch.arange(6), caption_choice=torch.tensor([0, 1, 0, 2, 0, 0]))
    value = term(images, texts, given)
    photo = sum(1 - float(images[i] @ before[i]) for i in range(6)) / 6
    text = sum(1 - float(texts[i] @ said[i]) for i in (0, 2, 4, 5)) / 6  # of all 6
    assert float(value.detach()) == pytest.approx((photo + text) / 2, rel=1e-5)
