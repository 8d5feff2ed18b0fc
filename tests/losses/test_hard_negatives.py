"""Mined negatives, as a term, against a loop."""

import math

import pytest
import torch
from torch import Tensor

from fashret.losses import (
    HardNegatives,
)
from fashret.types import Batch, TrainingItems
from support.batches import GARMENTS, batch, catalog, embeddings, items


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
