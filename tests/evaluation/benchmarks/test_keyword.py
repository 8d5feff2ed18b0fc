"""Keyword queries, on data whose numbers were worked out by hand."""

import math
from typing import Any

import pytest

from fashret.config import build
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import (
    Keyword,
)
from support.benchmarks import at, inputs, means_of, result_of
from support.commands import composed


def keyword(**options: Any) -> Keyword:
    given = {
        "split": None, "templates": ["{colour} {category}"], "schema": None, "max_queries": 100,
        "seed": 0, "k": [1, 2],
    }  # fmt: skip
    return Keyword(**given | options)


def test_keyword_gains_by_hand() -> None:
    on = inputs(
        at(0, 10, 20, 30),
        typed={"red tees": 8.0, "blue tees": 24.0, "blue coats": 28.0},
        category=["tees", "tees", "tees", "coats"],
        colour=["red", "blue", None, "blue"],
    )
    task = next(keyword().tasks(on))
    assert sorted(task.search.query_names) == ["blue coats", "blue tees", "red tees"]
    outcome = result_of(task)
    place = {name: i for i, name in enumerate(task.search.query_names)}
    # red tees (8): 10 is a tee of another colour (1/2), 0 is right (1): ideal 1, 1/2
    gains = outcome.judgment.gains[place["red tees"]].tolist()
    assert gains == [0.5, 1.0]
    ndcg = outcome.columns["ndcg@2"].values[place["red tees"]]
    ideal = 1 + 0.5 / math.log2(3)
    assert float(ndcg) == pytest.approx((0.5 + 1 / math.log2(3)) / ideal, abs=1e-12)
    # blue tees (24): 20, whose colour is unknown, is half right; 30, a coat, is wrong
    assert outcome.judgment.gains[place["blue tees"]].tolist() == [0.5, 0.0]
    assert outcome.judgment.gains[place["blue coats"]].tolist() == [1.0, 0.0]
    assert outcome.columns["hit@1"].values.sort().values.tolist() == [0.0, 0.0, 1.0]
    assert outcome.judgment.num_relevant.tolist() == [1, 1, 1]


def test_keyword_says_values_as_people_type_them() -> None:
    cfg = composed("evaluate", ["protocol=keyword"])
    asked = build(cfg.protocol)
    words = [
        asked._words(name, value)
        for name, value in [
            ("neckline", "v_neck"), ("neckline", "square"), ("sleeve", "short"),
            ("colour", "red"), ("category", "Blouses_Shirts"), ("colour", "Fluorescent Green"),
        ]
    ]  # fmt: skip
    assert words == [
        "v neck", "square neckline", "short sleeve", "red", "blouses shirts", "fluorescent green",
    ]  # fmt: skip


def test_keyword_templates_that_cannot_be_asked() -> None:
    on = inputs(at(0), category=["tees"])
    with pytest.raises(ConfigError, match=r"has no \{category\}"):
        means_of(keyword(templates=["{colour}"]), on)
    with pytest.raises(
        ConfigError, match=r"no template of protocol\.templates can be filled; the data has cat"
    ):
        means_of(keyword(), on)
