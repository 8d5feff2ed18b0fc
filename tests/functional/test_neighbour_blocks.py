"""Neighbours in blocks: exact scores, most of the neighbours, and how many is said rightly."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional import neighbour_blocks
from fashret.functional.neighbour_blocks import neighbours


def clustered(count: int, dim: int = 32) -> Tensor:
    drawn = torch.Generator().manual_seed(count)
    centres = torch.randn(count // 25, dim, generator=drawn)
    place = torch.randint(len(centres), (count,), generator=drawn)
    return normalize(centres[place] + 0.5 * torch.randn(count, dim, generator=drawn), dim=1)


def brute_force(embeddings: Tensor, k: int) -> Tensor:
    scores = embeddings.double() @ embeddings.double().T
    return scores.argsort(dim=1, descending=True, stable=True)[:, :k]


def test_up_to_a_size_every_pair_is_compared() -> None:
    embeddings = clustered(300)
    found = neighbours(embeddings, 11, exact_up_to=300)
    assert found.recall == 1.0
    assert torch.equal(found.rows, brute_force(embeddings, 11))
    assert torch.equal(found.rows, neighbours(embeddings, 11).rows)


def test_blocks_hold_most_neighbours_and_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_blocks, "_PROBED", 8)
    embeddings, k = clustered(4000), 11
    found = neighbours(embeddings, k, exact_up_to=1000)
    exact = brute_force(embeddings, k)
    recall = float((found.rows[:, :, None] == exact[:, None, :]).any(dim=1).double().mean())
    assert 0.8 < recall < 1.0  # 8 of 63 blocks
    assert found.recall == pytest.approx(recall, abs=0.03)  # of 500 of the 4,000
    # Each is its own nearest; the others follow by their exact scores, each once.
    assert torch.equal(found.rows[:, 0], torch.arange(4000))
    scores = (embeddings[:, None, :] * embeddings[found.rows]).sum(dim=2)
    assert torch.allclose(found.scores.float(), scores, atol=1e-5)
    assert bool((found.scores.diff(dim=1) <= 0).all())
    assert all(len(set(row)) == k for row in found.rows.tolist())
    assert torch.equal(found.rows, neighbours(embeddings, k, exact_up_to=1000).rows)


def test_all_blocks_hold_all_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_blocks, "_PROBED", 1000)
    embeddings = clustered(900)
    found = neighbours(embeddings, 11, exact_up_to=1)
    assert found.recall == 1.0
    assert torch.equal(found.rows, brute_force(embeddings, 11))


def test_equal_embeddings_are_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_blocks, "_PROBED", 1)
    found = neighbours(normalize(torch.ones(100, 4), dim=1), 5, exact_up_to=1)
    assert found.rows[:, 0].tolist() == [0] * 100  # by row, as the exact search orders ties
