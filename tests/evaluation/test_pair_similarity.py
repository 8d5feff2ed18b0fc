"""Pairs of photos by kind, and how similar a model finds them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.evaluation import pair_similarity
from fashret.evaluation.options import RetrievalOptions
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


def test_a_hard_negative_is_a_query_and_what_it_found_among_the_rows_of_the_plan() -> None:
    """Three of six rows ask and four are searched; the first of the gallery is found as well."""
    codes = PLAN.codes
    plan = replace(PLAN, queries=np.array([2, 4, 5]), gallery=np.array([0, 1, 3, 5]))
    labels = {
        "category": (torch.tensor([0, 0, 0, 0, 1, -1]), ["tees", "coats"]),
        "colour": (torch.tensor([1, 0, 0, 1, 0, 1]), ["red", "blue"]),
    }
    known: Any = SimpleNamespace(product=codes.product, caption=codes.caption, labels=labels)
    plan = replace(plan, codes=known, options=RetrievalOptions(k=[6], resamples=10))
    # Row 2, red, finds 1 (red too), 0 (blue), 5 (of no category) and 3, of its own product. Row 4
    # is alone in its category, and row 5 has none. The plan's rows are 0 to 5.
    image = at(*ANGLES)
    assert plan.rows.tolist() == [0, 1, 2, 3, 4, 5]
    queries, items = sample_photo_pairs(evaluation_of_photos(plan, image))[HARD_NEGATIVE]
    assert list(zip(queries.tolist(), items.tolist(), strict=True)) == [(2, 0)]
    shifted = replace(plan, queries=np.array([2]), gallery=np.array([0, 3]))
    assert shifted.rows.tolist() == [0, 2, 3]
    queries, items = sample_photo_pairs(evaluation_of_photos(shifted, image[[0, 2, 3]]))[
        HARD_NEGATIVE
    ]
    assert (queries.tolist(), items.tolist()) == ([1], [0])  # row 2 is the second of the plan


def test_a_draw_is_that_of_its_seed() -> None:
    evaluation = evaluation_of_photos(PLAN, at(*ANGLES))
    plain, zero, one = (
        sample_photo_pairs(evaluation, **seed)[RANDOM][0].tolist()
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert plain == zero
    assert zero != one


def test_at_most_five_thousand_pairs_of_a_kind_are_drawn() -> None:
    count = 5003
    plan = plan_of([0] * count, k=1, category=[0] * count)
    evaluation: Any = SimpleNamespace(
        plan=plan,
        rankings={"image": SimpleNamespace(rows=torch.zeros(count, 1, dtype=torch.long))},
        hits=lambda name: torch.ones(count, 1, dtype=torch.bool),
    )
    drawn = sample_photo_pairs(evaluation)
    one, other = drawn[SAME_PRODUCT]
    assert len(one) == len(other) == 5000  # of 5,002 neighbours
    assert bool((other == one + 1).all())
    assert len(one.unique()) == 5000
    assert one.tolist() != sorted(one.tolist())
    assert 4900 < len(drawn[RANDOM][0]) <= 5000
    assert len(drawn[HARD_NEGATIVE][0]) == 0
