"""Smaller embeddings: what they are, and what cannot be made smaller."""

import math

import pytest
import torch

from fashret.errors import ConfigError
from fashret.evaluation.compression import Compression
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.functional.blocks import Layout


def embedded(count: int = 40, dim: int = 16) -> SplitEmbeddings:
    generator = torch.Generator().manual_seed(0)
    image, text, judged = (
        torch.nn.functional.normalize(torch.randn(count, dim, generator=generator) + offset, dim=1)
        for offset in (0.5, -0.5, -0.4)
    )
    text[3] = 0.0  # an item without text
    layout = Layout.from_widths({"general": dim})
    return SplitEmbeddings(image, text, layout, {"search_log": judged})


def test_nothing_is_changed_by_default() -> None:
    whole = embedded()
    assert Compression().apply(whole) is whole
    assert not Compression()


def test_the_first_dimensions_are_normalised_again() -> None:
    whole = embedded()
    small = Compression(dim=5).apply(whole)
    for name in ("image", "text"):
        before, after = getattr(whole, name), getattr(small, name)
        for row in (0, 7):
            cut = before[row, :5].tolist()
            length = math.sqrt(sum(x * x for x in cut))
            assert after[row].tolist() == pytest.approx([x / length for x in cut], abs=1e-6)
    assert small.judged["search_log"].shape == (40, 5)
    assert small.layout.dim == 5
    assert small.text[3].tolist() == [0.0] * 5
    assert str(Compression(dim=5, vectors="int8")) == "5 dimensions, int8"


def test_int8_has_255_steps() -> None:
    whole = embedded()
    small = Compression(vectors="int8").apply(whole)
    for before, after in zip(whole.image, small.image, strict=True):
        steps = after / after.abs().max() * 127
        assert torch.allclose(steps, steps.round(), atol=1e-3)
        assert float(before @ after) > 0.9999
    assert small.text[3].abs().sum() == 0


def test_binary_vectors_count_equal_signs() -> None:
    whole = embedded(dim=16)
    small = Compression(vectors="binary").apply(whole)
    for part in (small.image, small.text[:3], small.judged["search_log"]):
        assert torch.allclose(part.abs(), torch.full_like(part, 0.25))
    assert small.text[3].abs().sum() == 0  # an item without text still has none
    equal = ((small.image[0] > 0) == (small.image[1] > 0)).sum()
    assert float(small.image[0] @ small.image[1]) == pytest.approx(2 * float(equal) / 16 - 1)
    # Near vectors have more equal signs than far ones.
    cosines = whole.image @ whole.image[0] - 0
    signs = small.image @ small.image[0]
    near, far = cosines[1:].topk(10).indices + 1, (-cosines[1:]).topk(10).indices + 1
    assert signs[near].mean() > signs[far].mean()


def test_photos_and_texts_are_centred_each_by_their_own_mean() -> None:
    """In their narrow cones all signs would be equal."""
    whole = embedded(count=400)
    small = Compression(vectors="binary").apply(whole)
    for part in (small.image, small.text):
        assert float(part.sum(dim=0).abs().max()) < 0.25 * 400 * 0.3


def test_the_bytes_of_an_item() -> None:
    assert Compression().item_bytes(512) == 2048
    assert Compression(dim=64).item_bytes(512) == 256
    assert Compression(vectors="int8").item_bytes(512) == 516
    assert Compression(dim=60, vectors="binary").item_bytes(512) == 8


def test_what_cannot_be_compressed_is_said() -> None:
    with pytest.raises(ConfigError, match=r"compress.dim=0: must be at least 1"):
        Compression(dim=0)
    with pytest.raises(ConfigError, match=r"compress.vectors=int4: must be float32, int8, binary"):
        Compression(vectors="int4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"compress.dim=16: must be below 16"):
        Compression(dim=16).apply(embedded())
    whole = embedded()
    blocks = SplitEmbeddings(
        whole.image, whole.text, Layout.from_widths({"general": 12, "neckline": 4})
    )
    with pytest.raises(ConfigError, match=r"attribute heads are not compressed.*\(neckline\)"):
        Compression(vectors="int8").apply(blocks)
