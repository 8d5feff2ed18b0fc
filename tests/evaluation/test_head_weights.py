"""Blocks of attributes weighted by the query, one catalog for all."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fashret.catalog.folder import open_catalog
from fashret.errors import ConfigError
from fashret.evaluation import head_weights
from fashret.evaluation.comparison import Difference
from fashret.evaluation.embed import evaluate_split
from fashret.evaluation.head_weights import WeightCurve, WeightPoint, sweep_head_weights
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.models.retriever import Retriever
from support.benchmarks import at
from support.commands import Run
from support.plans import plan_of

BLOCKS = ("model.attribute_blocks={neckline: 8, material: 4}", "trainer.max_epochs=2")


def test_one_catalog_serves_every_weighting(run: Run) -> None:
    train = run("train", *BLOCKS, folder="train")
    curves = json.loads((train / "steering.json").read_text())
    assert [curve["attribute"] for curve in curves] == ["neckline", "material"]
    metrics = json.loads((train / "metrics.json").read_text())["metrics"]
    for curve in curves:
        assert curve["points"][0]["value"] == metrics[curve["key"]]["value"]
        assert curve["points"][0]["cost"] == 0.0
        assert all(point["cost"] >= 0.0 for point in curve["points"])
        assert curve["points"][-1]["value"] != curve["points"][0]["value"]
    given = [f"run={train}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    weighted = run("evaluate", *given, folder="weighted")
    found = json.loads((weighted / "metrics.json").read_text())["metrics"]
    at_one = next(p for p in curves[0]["points"] if p["weight"] == 1.0)
    assert found["val/image/neckline/precision@10"]["value"] == at_one["value"]
    shown = run("evaluate", f"run={train}", folder="shown")  # judges test, and chooses weights on
    again = json.loads((shown / "steering.json").read_text())  # validation, as the run did
    assert again == curves
    folder = run.at("catalog")
    run("build_catalog", f"run={train}", f"catalog.dir={folder}", folder="build")
    catalog = open_catalog(folder)
    base = catalog.manifest["blocks"]["general"][1]
    assert catalog.manifest["blocks"] == {
        "general": [0, base], "neckline": [base, base + 8], "material": [base + 8, base + 12],
    }  # fmt: skip
    assert catalog.image.shape[1] == base + 12
    given = [f"run={folder}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    stored = run("evaluate", *given, folder="stored")
    found = json.loads((stored / "metrics.json").read_text())["metrics"]
    assert found["val/image/neckline/precision@10"]["value"] == pytest.approx(
        at_one["value"], abs=1e-3
    )
    assert torch.allclose(catalog.image.norm(dim=1), torch.ones(len(catalog)), atol=1e-4)
    assert dict(Retriever(*catalog.heads).layout.columns) == dict(catalog.layout.columns)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.attribute_blocks={necklin: 8}"], "model.attribute_blocks names necklin"),
        (["model.attribute_blocks={neckline: 999}"], "must be at most 256"),
        (["retrieval.weights={neckline: 1}"], "retrieval.weights names 'neckline'"),
    ],
)
def test_a_block_that_cannot_be_is_answered(run: Run, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("train", *overrides)


def steered() -> tuple[SplitSearch, SplitEmbeddings]:
    """Eight photos: the general block tells product from product, the other the colour.

    Each block is a direction in a plane. The products lie at 0, 20, 40 and 60 degrees of the
    general block, two photos of each, and the colours change from one photo to the next.
    """
    plan = plan_of(
        [0, 0, 1, 1, 2, 2, 3, 3],
        k=1,
        category=[0, 0, 0, 0, 1, 1, 1, 1],
        colour=[0, 1, 0, 1, 0, 1, 0, 1],
    )
    general = at(0, 4, 20, 24, 40, 44, 60, 64)
    colour = at(0, 90, 1, 91, 2, 92, 3, 93)
    image = torch.cat([general, colour], dim=1) / math.sqrt(2)
    layout = Layout.from_widths({"general": 2, "colour": 2})
    return plan, SplitEmbeddings(image, image, layout)


def test_a_head_is_weighed_against_what_it_costs() -> None:
    plan, embedded = steered()
    (curve,) = sweep_head_weights(plan, embedded, None, {}, weights=(0.0, 9.0))
    key = "test/image/colour/precision@1"
    assert (curve.attribute, curve.key, curve.rise) == ("colour", key, None)
    assert [point.weight for point in curve.points] == [0.0, 9.0]
    plain, heavy = curve.points
    # Without the head each photo finds the other of its product, of another colour. With it a
    # photo finds the next one of its colour, 20 degrees away, and never its product.
    assert (plain.value, heavy.value) == (0.0, 1.0)
    overall = ("image/product/hit@1", "image/category/precision@1", "text/pair/hit@1")
    assert plain.overall == pytest.approx(
        {"test/image/product/hit@1": 1.0, "test/image/category/precision@1": 1.0,
         "test/text/pair/hit@1": 1.0}
    )  # fmt: skip
    assert set(heavy.overall) == {f"test/{name}" for name in overall}
    assert heavy.overall["test/image/product/hit@1"] == 0.0
    assert plain.cost == 0.0
    assert heavy.cost == 1.0  # the largest drop, of the products
    assert (plain.meets, heavy.meets) == (None, None)
    assert curve.chosen is None


def test_a_target_is_met_from_the_weight_that_reaches_its_rise() -> None:
    plan, embedded = steered()
    baseline = evaluate_split(plan, embedded)
    rises = {"image/colour/precision@1": 1.0}
    (curve,) = sweep_head_weights(plan, embedded, baseline, rises, weights=(0.0, 9.0, 20.0))
    assert curve.rise == 1.0
    assert [point.meets for point in curve.points] == [False, True, True]  # a rise of exactly 1
    assert curve.chosen is curve.points[1]
    (none,) = sweep_head_weights(plan, embedded, None, rises, weights=(0.0, 9.0))
    assert [point.meets for point in none.points] == [None, None]  # nothing to compare with
    (other,) = sweep_head_weights(
        plan, embedded, baseline, {"image/category/precision@1": 0.1}, weights=(0.0,)
    )
    assert other.rise is None


def test_the_cost_is_counted_from_the_first_weight_over_the_metrics_that_are_known() -> None:
    plan, embedded = steered()
    plan = replace(plan, modes=("image",))  # a model that reads no text
    (curve,) = sweep_head_weights(plan, embedded, None, {}, weights=(0.0, 0.01, 9.0, 0.5))
    assert set(curve.points[0].overall) == {
        "test/image/product/hit@1", "test/image/category/precision@1",
    }  # fmt: skip
    assert [point.cost for point in curve.points[:3]] == [0.0, 0.0, 1.0]
    started = sweep_head_weights(plan, embedded, None, {}, weights=(9.0, 0.0))[0]
    assert [point.cost for point in started.points] == [0.0, 0.0]  # a rise costs nothing


@pytest.mark.parametrize(("low", "meets"), [(0.01, True), (0.0, False), (-0.5, False)])
def test_a_target_is_met_by_a_rise_that_is_reached_and_is_no_chance(
    low: float, meets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, embedded = steered()
    key = "test/image/colour/precision@1"
    monkeypatch.setattr(
        head_weights, "compare", lambda one, other, keys: {key: Difference(low, 1.0, 0.01)}
    )
    baseline = evaluate_split(plan, embedded)
    rises = {"image/colour/precision@1": 1.0}
    (curve,) = sweep_head_weights(plan, embedded, baseline, rises, weights=(0.0, 9.0))
    assert [point.meets for point in curve.points] == [False, meets]


def test_the_largest_cut_off_counts_also_where_rankings_are_no_deeper() -> None:
    """Three products are too few for halves, so that lists are as deep as the cut-off."""
    plan, embedded = steered()
    plan = replace(
        plan, queries=np.arange(6), gallery=np.arange(6),
        options=RetrievalOptions(k=[1, 3], resamples=10),
    )  # fmt: skip
    embedded = replace(embedded, image=embedded.image[:6], text=embedded.text[:6])
    (curve,) = sweep_head_weights(plan, embedded, None, {})
    assert curve.key == "test/image/colour/precision@3"
    assert set(curve.points[0].overall) == {
        "test/image/product/hit@3", "test/image/category/precision@3", "test/text/pair/hit@3",
    }  # fmt: skip
    assert curve.points[-1].value == pytest.approx(2 / 3)  # both others of its colour
    # None, a general embedding that counts more, as much, and less than the head.
    assert [point.weight for point in curve.points] == [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0]


def test_the_cheapest_weight_that_meets_the_target_is_chosen_and_the_lowest_of_equals() -> None:
    def point(weight: float, cost: float, meets: bool | None) -> WeightPoint:
        return WeightPoint(weight, 0.5, {}, cost, meets)

    curve = WeightCurve(
        "colour", "key", 0.1,
        [point(0.0, 0.0, False), point(0.5, 0.3, True), point(2.0, 0.1, True),
         point(1.0, 0.1, True), point(4.0, 0.2, True)],
    )  # fmt: skip
    assert curve.chosen is curve.points[3]
    assert WeightCurve("colour", "key", 0.1, [point(0.0, 0.0, False)]).chosen is None
    assert WeightCurve("colour", "key", None, [point(0.0, 0.0, None)]).chosen is None
