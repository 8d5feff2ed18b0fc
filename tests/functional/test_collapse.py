"""Collapse by arithmetic."""

import math

import pytest
import torch

from fashret.functional.collapse import EmbeddingSpread, measure_spread


def test_collapsed_embeddings_are_told_from_others() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.nn.functional.normalize(torch.randn(500, 32, generator=generator), dim=1)
    found = measure_spread(spread)
    assert found.effective_rank > 28
    assert abs(found.mean_similarity) < 0.01
    assert not found.collapsed
    together = torch.nn.functional.normalize(spread * 0.02 + spread[:1], dim=1)
    assert measure_spread(together).collapsed
    similarity = together.double() @ together.double().T
    others = (similarity.sum() - 500) / (500 * 499)
    assert measure_spread(together).mean_similarity == pytest.approx(float(others), abs=1e-9)
    line = torch.stack([spread[0], -spread[0]] * 250)
    assert measure_spread(line).effective_rank == pytest.approx(1.0, abs=1e-6)


def test_orthogonal_items_fill_as_many_directions() -> None:
    # Five equal singular values: an entropy of log 5. No two items are alike.
    found = measure_spread(torch.eye(7)[:5])
    assert found.effective_rank == pytest.approx(5.0)
    assert found.mean_similarity == pytest.approx(0.0, abs=1e-12)
    assert not found.collapsed


def test_rank_and_similarity_of_unevenly_filled_directions() -> None:
    # Three items in one direction and one in another: singular values sqrt(3) and 1. Of the
    # 6 pairs the 3 within the first direction have the similarity 1, the others 0.
    found = measure_spread(torch.eye(4)[[0, 0, 0, 1]])
    share = math.sqrt(3) / (1 + math.sqrt(3))
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert found.effective_rank == pytest.approx(math.exp(entropy))
    assert found.mean_similarity == pytest.approx(0.5)


def test_opposite_items_are_dissimilar() -> None:
    # One direction, and similarities of -1 in 4 of 6 pairs, of 1 in 2.
    found = measure_spread(torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]))
    assert found.effective_rank == pytest.approx(1.0)
    assert found.mean_similarity == pytest.approx(-1 / 3)
    assert found.collapsed


def test_embeddings_that_are_all_zero_have_collapsed() -> None:
    found = measure_spread(torch.zeros(3, 4))
    assert found == EmbeddingSpread(1.0, 0.0)
    assert found.collapsed


@pytest.mark.parametrize(
    ("rank", "similarity", "collapsed"),
    [
        (100.0, 0.99, True),
        (100.0, 0.98, False),
        (1.4, 0.0, True),
        (1.5, 0.0, False),
        (100.0, 0.0, False),
    ],
)
def test_one_place_or_one_direction_is_a_collapse(
    rank: float, similarity: float, collapsed: bool
) -> None:
    assert EmbeddingSpread(rank, similarity).collapsed is collapsed
