"""Confusion matrices, counted by hand."""

import pytest
import torch

from fashret.evaluation.confusion import confusion
from support.benchmarks import at
from support.plans import evaluation_of_photos, plan_of


def test_a_confusion_is_what_queries_of_each_value_find() -> None:
    # Five photos at these angles; each finds its two nearest.
    plan = plan_of([0, 1, 2, 3, 4], category=[0, 1, 0, 2, -1])
    found = confusion(evaluation_of_photos(plan, at(0, 10, 25, 60, 62)), "image", "category")
    # 0: 1, 2   1: 0, 2   2: 1, 0   3: 4 (unknown), 2   4: unknown itself
    assert found.values == ["category0", "category1", "category2"]
    assert found.queries.tolist() == [2, 1, 1]
    assert found.shares.tolist() == [
        [pytest.approx(2 / 4), pytest.approx(2 / 4), 0.0],
        [1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0],
    ]


def test_a_value_that_finds_nothing_known_has_no_row() -> None:
    plan = plan_of([0, 1, 2], k=1, category=[0, -1, 0])
    found = confusion(evaluation_of_photos(plan, at(0, 1, 3)), "image", "category")
    # Both known photos find the unknown one first.
    assert bool(torch.isnan(found.shares).all())


def test_padding_is_no_item_and_the_modes_are_their_own() -> None:
    """Two photos find one another; the third of three ranks is padding."""
    plan = plan_of([0, 1], k=3, category=[0, 1])
    found = confusion(evaluation_of_photos(plan, at(0, 10)), "image", "category")
    assert found.shares.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    # A text may find its own photo: both are found by both.
    texts = confusion(evaluation_of_photos(plan, at(0, 10)), "text", "category")
    assert texts.shares.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert found.queries.tolist() == texts.queries.tolist() == [1, 1]
