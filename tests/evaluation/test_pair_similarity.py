"""Pairs of photos by kind, and how similar a model finds them."""

import pytest

from fashret.evaluation import pair_similarity
from fashret.evaluation.pair_similarity import (
    HARD_NEGATIVE,
    RANDOM,
    SAME_PRODUCT,
    pair_similarities,
    sample_photo_pairs,
)
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.functional.blocks import Layout
from support.benchmarks import at
from support.plans import evaluation_of_photos, plan_of

ANGLES = (0.0, 5.0, 10.0, 90.0, 95.0, 40.0)
PLAN = plan_of([7, 7, 3, 3, -1, -1], category=[0, 0, 0, 1, 1, -1], colour=[0, 1, 1, 0, -1, 0], k=3)


def pairs(kind: str) -> set[frozenset[int]]:
    drawn = sample_photo_pairs(evaluation_of_photos(PLAN, at(*ANGLES)))[kind]
    return {frozenset(pair) for pair in zip(*(t.tolist() for t in drawn), strict=True)}


def test_pairs_of_one_product_leave_out_what_has_none() -> None:
    assert pairs(SAME_PRODUCT) == {frozenset({0, 1}), frozenset({2, 3})}


def test_hard_negatives_are_found_of_the_category_and_differ_in_a_known_value() -> None:
    # 0 and 1 are one product; 1 and 2 have one colour; 3 and 4 differ in nothing that is known.
    assert pairs(HARD_NEGATIVE) == {frozenset({0, 2})}


def test_random_pairs_are_of_two_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(pair) == 2 for pair in pairs(RANDOM))
    assert len(pairs(RANDOM)) == 15
    monkeypatch.setattr(pair_similarity, "_MAX_PAIRS", 1)
    drawn = sample_photo_pairs(evaluation_of_photos(PLAN, at(*ANGLES)))
    assert all(len(one) <= 1 for one, _ in drawn.values())
    assert len(drawn[SAME_PRODUCT][0]) == 1


def test_similarities_are_those_of_the_two_photos() -> None:
    import math

    image = at(*ANGLES)
    drawn = sample_photo_pairs(evaluation_of_photos(PLAN, image))
    embedded = SplitEmbeddings(image, image, Layout.from_widths({"general": 2}))
    for kind, found in pair_similarities(embedded, drawn).items():
        for value, one, other in zip(found, *drawn[kind], strict=True):
            angle = math.radians(ANGLES[int(one)] - ANGLES[int(other)])
            assert float(value) == pytest.approx(math.cos(angle), abs=1e-6), kind
