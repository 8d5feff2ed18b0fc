"""Attribute-specific retrieval, on data whose numbers were worked out by hand."""

import pytest

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import (
    AttributeSpecific,
)
from support.benchmarks import at, inputs, means_of, result_of


def test_attribute_specific_by_hand() -> None:
    on = inputs(at(0, 10, 30, 60, 200), colour=["red", "blue", "red", "red", None])
    # red 0:  blue red red -> (1/2 + 2/3) / 2      blue 10: nothing to find, not counted
    # red 30: blue, 0 and 60 at a tie: the smaller row -> (1/2 + 2/3) / 2
    # red 60: red blue red -> (1 + 2/3) / 2
    tied = (1 / 2 + 2 / 3) / 2
    expected = (tied + tied + (1 + 2 / 3) / 2) / 3
    found = means_of(AttributeSpecific(split=None), on)
    assert found["colour"]["map"] == pytest.approx(expected, abs=1e-12)
    task = next(AttributeSpecific(split=None).tasks(on))
    assert len(task.gallery) == 4  # what does not carry the attribute is no candidate
    outcome = result_of(task)
    assert int((~outcome.columns["map"].values.isnan()).sum()) == 3


def test_attribute_specific_names_an_attribute_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"names 'sleeve'; the attributes of the data are colour"):
        means_of(
            AttributeSpecific(split=None, attributes=["sleeve"]), inputs(at(0), colour=["red"])
        )


def test_an_attribute_of_two_items_is_evaluated_and_one_of_a_single_item_is_not() -> None:
    on = inputs(at(0, 10, 30), colour=["red", "red", None], sleeve=["long", None, None])
    assert list(means_of(AttributeSpecific(split=None), on)) == ["colour"]
