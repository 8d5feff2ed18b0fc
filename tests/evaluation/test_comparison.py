"""Differences of two systems."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.errors import ConfigError
from fashret.evaluation.comparison import compare
from fashret.evaluation.verdicts import INSUFFICIENT, MET
from fashret.reports.scoreboard import Scoreboard
from support.scoreboards import KEY, QUERIES, asked, evaluation, noise


def test_a_difference_is_that_of_a_paired_bootstrap() -> None:
    before, after = noise(0), noise(1) + 0.02
    change = compare(evaluation(after), evaluation(before), [KEY, f"{KEY}[macro]"])
    rng = np.random.default_rng(0)
    pairs = (after - before).numpy()
    drawn = pairs[rng.integers(QUERIES, size=(20_000, QUERIES))].mean(axis=1)
    found = change[KEY]
    expected = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(expected, abs=0.001)  # two independent draws
    assert found.p == pytest.approx(2 * min((drawn <= 0).mean(), (drawn >= 0).mean()), abs=0.01)
    codes = evaluation(before).slices[KEY][0]
    macro = np.mean([float((after - before)[codes == c].mean()) for c in range(3)])
    assert change[f"{KEY}[macro]"].low < macro < change[f"{KEY}[macro]"].high


def test_equal_systems_do_not_differ() -> None:
    found = compare(evaluation(noise(0)), evaluation(noise(0)), [KEY])[KEY]
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)


def test_two_systems_without_an_exception_are_not_certain_to_stay_equal() -> None:
    """Both find everything, by other rankings: of 300 queries without a difference, Wilson's
    bound leaves 1.96^2 / (300 + 1.96^2) = 1.26 % that may differ."""
    values = torch.ones(QUERIES, dtype=torch.float64)
    found = compare(evaluation(values, 1), evaluation(values, 2), [KEY, f"{KEY}[high]"])
    share = 1.959964**2 / (300 + 1.959964**2)
    small = 3.84 / (15 + 3.84)  # 15 queries, and Student's t widens by more
    assert found[KEY].low == pytest.approx(-share, rel=0.1)
    assert found[KEY].high == -found[KEY].low
    assert found[KEY].p == 1.0
    assert -2.0 * small < found[f"{KEY}[high]"].low < -small
    verdict = Scoreboard.from_evaluation(
        "t", evaluation(values, 1), evaluation(values, 1).results(), evaluation(values, 2),
        [asked(rise=None), asked("[high]", rise=None)], {},
    ).targets  # fmt: skip
    assert [row.verdict for row in verdict] == [MET, INSUFFICIENT]


def test_a_metric_at_its_bound_is_not_certain() -> None:
    ones = torch.ones(QUERIES, dtype=torch.float64)
    share = 1.959964**2 / (300 + 1.959964**2)
    best, worst = (evaluation(v).results([KEY])[KEY] for v in (ones, 0.0 * ones))
    assert (best["low"], best["high"]) == (pytest.approx(1.0 - share, abs=1e-3), 1.0)
    assert (worst["low"], worst["high"]) == (0.0, pytest.approx(share, abs=1e-3))


def test_other_queries_cannot_be_compared() -> None:
    other = evaluation(noise(0))
    others = replace(other.plan.searches["image"], query_rows=np.arange(1, QUERIES + 1))
    plan: Any = SimpleNamespace(**vars(other.plan) | {"searches": {"image": others}})
    with pytest.raises(ConfigError, match="have different queries"):
        compare(evaluation(noise(0)), replace(other, plan=plan), [KEY])
