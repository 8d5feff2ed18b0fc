"""Text embeddings of items without a text, against a loop."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.blocks import GENERAL, Layout
from fashret.functional.imputation import impute_texts

LAYOUTS = [Layout.of({GENERAL: 6}), Layout.of({GENERAL: 4, "neckline": 3, "material": 2})]


def drawn(layout: Layout, items: int, seed: int) -> Tensor:
    """Embeddings whose blocks are unit vectors over the root of the number of blocks."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        normalize(torch.randn(items, end - start, generator=generator), dim=1)
        for start, end in layout.columns.values()
    ]
    return torch.cat(parts, dim=1) / math.sqrt(len(parts))


@pytest.mark.parametrize("layout", LAYOUTS, ids=["one block", "three blocks"])
@pytest.mark.parametrize(("known", "taken"), [(4, 4), (10, 10), (25, 10)])
def test_a_missing_text_is_the_mean_of_its_ten_nearest_photos_texts(
    layout: Layout, known: int, taken: int
) -> None:
    image, text = drawn(layout, 30, 0), drawn(layout, 30, 1)
    generator = torch.Generator().manual_seed(known)
    there = torch.zeros(30, dtype=torch.bool)
    there[torch.randperm(30, generator=generator)[:known]] = True
    text[~there] = 0.0
    given = text.clone()
    found, imputed = impute_texts(image, text, layout)
    assert torch.equal(text, given)  # what was given stays as it was
    assert torch.equal(imputed, ~there)
    assert torch.equal(found[there], text[there])
    _, width = layout.columns[GENERAL]
    for i in (~there).nonzero()[:, 0].tolist():
        others = [j for j in range(30) if there[j]]
        others.sort(key=lambda j: -float(image[i, :width] @ image[j, :width]))
        mean = text[others[:taken]].mean(dim=0)
        for start, end in layout.columns.values():
            expected = normalize(mean[start:end], dim=0) / math.sqrt(len(layout.columns))
            assert torch.allclose(found[i, start:end], expected, atol=1e-6)
    assert torch.allclose(found.norm(dim=1), torch.ones(30), atol=1e-6)


def test_texts_that_are_all_there_stay() -> None:
    text = drawn(LAYOUTS[1], 5, 1)
    found, imputed = impute_texts(drawn(LAYOUTS[1], 5, 0), text, LAYOUTS[1])
    assert torch.equal(found, text)
    assert imputed.tolist() == [False] * 5


def test_without_any_text_photos_stand_for_them() -> None:
    image = drawn(LAYOUTS[0], 5, 0)
    found, imputed = impute_texts(image, torch.zeros(5, 6), LAYOUTS[0])
    assert torch.equal(found, image)
    assert imputed.tolist() == [True] * 5


def test_each_block_is_normalised_to_its_share() -> None:
    found = LAYOUTS[1].normalized(torch.arange(1.0, 19.0).view(2, 9))
    for start, end in LAYOUTS[1].columns.values():
        assert found[:, start:end].norm(dim=1).tolist() == pytest.approx([1 / math.sqrt(3)] * 2)
    assert found[0, 1] / found[0, 0] == pytest.approx(2.0)
    assert not LAYOUTS[1].normalized(torch.zeros(1, 9)).any()
