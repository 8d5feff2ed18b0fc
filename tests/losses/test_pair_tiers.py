"""Pairs in tiers, as a term, against a loop."""

import math

import pytest

from fashret.losses import (
    PairTiers,
)
from support.batches import GARMENTS, batch, catalog, embeddings, items


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
