"""Fused search over items of which some have no text."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.functional.imputation import impute_texts

PLAIN = Layout.from_widths({"general": 16})


def drawn(products: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Image and text embeddings of two views of products of 12 kinds; texts share a direction."""
    generator = torch.Generator().manual_seed(seed)
    kinds = 1.5 * torch.randn(12, 16, generator=generator)
    own = kinds[torch.arange(products) % 12] + torch.randn(products, 16, generator=generator)
    own = own.repeat_interleave(2, dim=0)
    shared = torch.ones(16)  # every two texts have a positive cosine, as in CLIP
    image = own + 0.8 * torch.randn(2 * products, 16, generator=generator)
    text = own + shared + 0.9 * torch.randn(2 * products, 16, generator=generator)
    return normalize(image, dim=1), normalize(text, dim=1)


def found(image: Tensor, text: Tensor, mode: str = "fused") -> Tensor:
    """(n,) bool: whether a query finds the other view of its product among its first 10."""
    count = len(image)
    options = RetrievalOptions(
        k=[10], exclude="self", weight_image=0.7, candidates=None, catalog_splits=None,
        slice_metrics=[], max_queries=None, max_items=None, seed=0, resamples=100,
    )  # fmt: skip
    codes: Any = SimpleNamespace(product=torch.arange(count) // 2, caption=None, labels={})
    rows = np.arange(count)
    plan = SplitSearch("test", options, rows, rows, codes, ())
    rows_found = rank_split(plan, SplitEmbeddings(image, text, PLAIN), modes=(mode,))[mode][1].rows
    return (rows_found == (torch.arange(count) ^ 1)[:, None]).any(dim=1)


@pytest.mark.parametrize("seed", range(4))
def test_items_without_a_text_are_found_as_often_as_by_image_search(seed: int) -> None:
    """With 30 % of the texts missing; zero in their place finds none of them."""
    image, text = drawn(seed=seed)
    generator = torch.Generator().manual_seed(seed + 100)
    missing = torch.rand(len(text), generator=generator) < 0.3
    left = text * ~missing[:, None]
    mate = torch.arange(len(text)) ^ 1
    fused, by_image = found(image, left), found(image, left, "image")
    whole = found(image, text)
    lacking = ~missing & missing[mate]
    complete = ~missing & ~missing[mate]
    assert int(lacking.sum()) > 80
    assert fused[lacking].float().mean() >= by_image[lacking].float().mean() - 0.02
    assert fused[complete].float().mean() >= whole[complete].float().mean() - 0.01
    assert torch.equal(fused[missing], by_image[missing])  # asked by the photo alone


def halfway(texts: Tensor) -> Tensor:
    """Their mean, with the root of its length."""
    mean = texts.mean(dim=0)
    return mean / mean.norm() ** 0.5


def test_an_imputed_text_is_along_the_mean_of_the_nearest_photos_texts() -> None:
    image, text = drawn(20)
    text[5] = text[11] = 0.0
    completed = impute_texts(image, text, PLAIN)
    for row in (5, 11):
        others = [other for other in range(40) if other not in (5, 11)]
        others.sort(key=lambda other: -float(image[row] @ image[other]))
        torch.testing.assert_close(completed[row], halfway(text[others[:5]]))
    kept = [row for row in range(40) if row not in (5, 11)]
    assert torch.equal(completed[kept], text[kept])


def test_complete_texts_stay_as_they_are_and_no_text_at_all_is_the_photo() -> None:
    image, text = drawn(5)
    assert impute_texts(image, text, PLAIN) is text
    assert torch.equal(impute_texts(image, torch.zeros_like(text), PLAIN), image)
    assert torch.equal(found(image, torch.zeros_like(text)), found(image, text, "image"))


def test_photos_are_compared_by_the_general_block() -> None:
    """Ten items are near item 0 by the general block, ten others by the second one."""
    layout = Layout.from_widths({"general": 2, "neckline": 2})
    near = torch.tensor([[1.0, 0.0]]).repeat(10, 1)
    far = torch.tensor([[-1.0, 0.0]]).repeat(10, 1)
    image = torch.cat([torch.cat([near, far]), torch.cat([far, near])], dim=1)
    text = torch.eye(4)[[0] * 10 + [1] * 10]
    image[0, 2:] = torch.tensor([1.0, 0.0])  # the second block says that it is like the others
    text[0] = 0.0
    torch.testing.assert_close(impute_texts(image, text, layout)[0], torch.eye(4)[0])
