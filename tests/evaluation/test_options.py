"""Options of an evaluation: which values are refused."""

from typing import Any

import pytest

from fashret.errors import ConfigError
from fashret.evaluation.options import RetrievalOptions


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"k": []}, r"retrieval\.k=\[\]"),
        ({"k": [0, 1]}, r"retrieval\.k=\[0, 1\]"),
        ({"k": [5, 5]}, r"retrieval\.k=\[5, 5\]"),
        ({"exclude": "all"}, r"exclude=all: it must be one of self, product, none"),
        ({"by": "photo"}, r"by=photo: it must be item or product"),
        ({"documents": "photo"}, r"documents=photo: it must be one of image, text, mixed"),
        ({"weight_image": -0.1}, r"weight_image=-0\.1: it must be within 0 and 1"),
        ({"weight_image": 1.1}, r"weight_image=1\.1: it must be within 0 and 1"),
        ({"weights": {"neckline": -1.0}}, r"weights\.neckline=-1\.0: it must be at least 0"),
        ({"catalog_splits": ["dev"]}, r"catalog_splits holds 'dev'; the splits are train, val"),
        ({"slice_metrics": ["f1"]}, r"slice_metrics holds 'f1'; the metrics are hit"),
        ({"metrics": {"hit": len}}, r"retrieval\.metrics\.hit: it must be a function, and its"),
        ({"metrics": {"2nd": len}}, r"retrieval\.metrics\.2nd: it must be a function"),
        ({"metrics": {"mine": 5}}, r"retrieval\.metrics\.mine: it must be a function"),
        ({"candidates": 0}, r"candidates=0: it must be at least 1, or null"),
        ({"max_queries": 0}, r"max_queries=0: it must be at least 1, or null"),
        ({"max_items": 0}, r"max_items=0: it must be at least 1, or null"),
        ({"k": [1, 10], "candidates": 9}, r"candidates=9 is below the largest retrieval\.k \(10\)"),
    ],
)
def test_a_value_out_of_its_range_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        RetrievalOptions(**given)


def test_values_at_their_bounds_are_taken() -> None:
    for weight in (0.0, 1.0):
        assert RetrievalOptions(weight_image=weight).weight_image == weight
    options = RetrievalOptions(
        k=[1, 10], candidates=10, max_queries=1, max_items=1, weights={"neckline": 0.0},
        metrics={"mine": len}, slice_metrics=["mine", "hit"], catalog_splits=["train", "test"],
    )  # fmt: skip
    written = options.to_dict()
    assert written["metrics"] == ["mine"]
    assert written["candidates"] == 10


def test_what_is_not_given_is_as_the_documentation_has_it() -> None:
    """The values of docs/metrics.md and of conf/retrieval/default.yaml."""
    assert RetrievalOptions().to_dict() == {
        "k": [1, 5, 10], "exclude": "self", "weight_image": 0.7, "candidates": None,
        "catalog_splits": None, "slice_metrics": ["precision"], "max_queries": None,
        "max_items": None, "seed": 0, "resamples": 10_000, "weights": None, "documents": "image",
    }  # fmt: skip


def test_options_are_written_as_json_can_hold_them() -> None:
    options = RetrievalOptions(
        k=(1, 3), by="product", weights={"colour": 0.5}, metrics={"b": len, "a": len}
    )
    written = options.to_dict()
    assert written["k"] == [1, 3]
    assert written["by"] == "product"
    assert written["weights"] == {"colour": 0.5}
    assert written["weights"] is not options.weights
    assert written["metrics"] == ["a", "b"]
    assert "metrics" not in RetrievalOptions().to_dict()


def test_a_later_value_of_several_is_checked_too() -> None:
    faults: list[tuple[dict[str, Any], str]] = [
        ({"k": [5, 1, 0]}, r"retrieval\.k=\[5, 1, 0\]"),
        ({"weights": {"a": 0.0, "b": -0.5}}, r"weights\.b=-0\.5"),
        ({"catalog_splits": ["train", "dev"]}, "catalog_splits holds 'dev'"),
        ({"slice_metrics": ["hit", "f1"]}, "slice_metrics holds 'f1'"),
        ({"metrics": {"mine": len, "a b": len}}, r"retrieval\.metrics\.a b"),
    ]
    for given, fault in faults:
        with pytest.raises(ConfigError, match=fault):
            RetrievalOptions(**given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resamples": 0}, r"retrieval.resamples=0: it must be at least 1"),
        ({"k": 5}, r"retrieval.k=5: it must be a list of whole numbers"),
        ({"k": (1.5,)}, r"it must be a list of whole numbers"),
        ({"k": "10"}, r"retrieval.k=10: it must be a list of whole numbers"),
    ],
)
def test_numbers_that_make_no_sense_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RetrievalOptions(**wrong)
