"""Verdicts at and beside their bounds."""

import pytest

from fashret.evaluation.verdicts import (
    INSUFFICIENT,
    MET,
    NOT_MET,
    PROVED,
    is_enough,
    is_regression,
    verdict,
)


@pytest.mark.parametrize(
    ("delta", "low", "expected"),
    [
        (0.10, 0.06, PROVED),
        (0.10, 0.05, PROVED),  # the whole interval is at or above the rise
        (0.10, 0.04, MET),
        (0.05, 0.01, MET),  # the change is just the rise
        (0.04, 0.01, NOT_MET),
        (0.10, 0.0, NOT_MET),  # the interval is not above 0
        (0.10, -0.01, NOT_MET),
    ],
)
def test_a_rise_is_proved_met_or_neither(delta: float, low: float, expected: str) -> None:
    for margin in (0.0, 0.02, 1.0):  # of another kind of target
        assert verdict(delta, low, rise=0.05, margin=margin) == expected


@pytest.mark.parametrize(
    ("delta", "low", "expected"),
    [
        (0.01, 0.005, MET),
        (0.0, -0.01, MET),
        (-0.01, -0.02, MET),  # a fall of the margin is allowed
        (0.01, -0.03, INSUFFICIENT),
        (-0.02, -0.05, INSUFFICIENT),  # the change itself is within the margin
        (-0.03, -0.05, NOT_MET),
    ],
)
def test_a_metric_that_must_not_fall_may_fall_by_its_margin(
    delta: float, low: float, expected: str
) -> None:
    assert verdict(delta, low, rise=None, margin=0.02) == expected


def test_thirty_queries_of_twenty_products_are_enough_and_one_value_of_a_mean_over_values() -> None:
    for key in ("val/image/product/hit@10", "val/image/colour/precision@10[red]"):
        assert is_enough(key, 30, 20)
        assert not is_enough(key, 29, 20)
        assert not is_enough(key, 30, 19)
    macro = "val/image/colour/precision@10[macro]"
    assert is_enough(macro, 1, 0)
    assert not is_enough(macro, 0, 50)


def test_a_regression_is_a_significant_fall() -> None:
    assert is_regression(-0.01, 0.049)
    assert not is_regression(-0.01, 0.05)
    assert not is_regression(0.01, 0.001)
    assert not is_regression(0.0, 0.001)
