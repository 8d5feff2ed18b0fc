"""Attribute-specific retrieval, on data whose numbers were worked out by hand."""

import pytest

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import (
    AttributeSpecific,
)
from fashret.tasks.base import Outcome
from support.stages import at, judged, stage


def test_attribute_specific_by_hand() -> None:
    on = stage(at(0, 10, 30, 60, 200), colour=["red", "blue", "red", "red", None])
    # red 0:  blue red red -> (1/2 + 2/3) / 2      blue 10: nothing to find, not counted
    # red 30: blue, 0 and 60 at a tie: the smaller row -> (1/2 + 2/3) / 2
    # red 60: red blue red -> (1 + 2/3) / 2
    tied = (1 / 2 + 2 / 3) / 2
    expected = (tied + tied + (1 + 2 / 3) / 2) / 3
    found = judged(AttributeSpecific(split=None), on)
    assert found["colour"]["map"] == pytest.approx(expected, abs=1e-12)
    task = next(AttributeSpecific(split=None).tasks(on))
    assert len(task.documents) == 4  # what does not carry the attribute is no candidate
    outcome = Outcome.of(task)
    assert outcome.results(resamples=10, seed=0)["map"]["n"] == 3


def test_attribute_specific_names_an_attribute_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"holds sleeve; the data has colour"):
        judged(AttributeSpecific(split=None, attributes=["sleeve"]), stage(at(0), colour=["red"]))
