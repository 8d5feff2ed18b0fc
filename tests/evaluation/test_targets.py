"""Targets: what a data set can give."""

from typing import Any

import pytest

from fashret.cli.options import Composed
from fashret.errors import ConfigError
from fashret.evaluation.targets import Target, usable_targets
from support.commands import composed
from support.scoreboards import asked

VALUES = {"category": ["Cardigans", "Shorts"], "neckline": ["round", "square"]}
NAMES = [f"image/{name}/{metric}@10" for name in VALUES for metric in ("precision", "hit")]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("image/category/precision@10[cardigans]", r"no category 'cardigans'; .* Cardigans\?"),
        ("image/neckline/precision@5", r"no such metric; did you mean image/neckline/precision@10"),
        ("image/fabric/precision@10[denim]", "no such metric"),
        (
            "image/neckline/hit@10[round]",
            "not reported by value: add it to retrieval.slice_metrics",
        ),
        ("neckline", "no such metric"),
    ],
)
def test_a_target_that_the_data_cannot_give_is_named_with_the_nearest(
    metric: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given by the user it is an error; of the data's own configuration it is left out."""
    own = {"mine": Target(metric=metric, rise=0.1), "whole": asked()}
    options = {"metrics": NAMES, "sliced": ["precision"], "values": VALUES}
    with pytest.raises(ConfigError, match=f"targets.mine.metric=.*{message}"):
        usable_targets(own, given=["mine"], **options)  # type: ignore[arg-type]
    left = usable_targets(own, given=[], **options)  # type: ignore[arg-type]
    assert left == [own["whole"]]
    assert "ignoring the target mine" in caplog.text


def test_targets_are_the_users_where_they_are_not_as_the_data_set_has_them() -> None:
    mine = "+targets.mine={metric: image/category/hit@10, rise: 0.1}"
    for overrides, given in (
        ([], set()),
        (["targets.denim.rise=0.2"], {"denim"}),
        ([mine], {"mine"}),
        (["data=folder", mine], {"mine"}),
    ):
        assert Composed(composed("train", overrides), "train", ()).given_targets() == given


def test_every_data_set_has_targets_in_its_own_spelling_or_none() -> None:
    """Those of a set name its categories as its source does."""
    composed_names = {}
    for data in ("sample", "deepfashion_multimodal", "folder", "fashion_products"):
        cfg = composed("train", [f"data={data}"])
        composed_names[data] = sorted(cfg.get("targets") or {})
    assert composed_names["folder"] == composed_names["fashion_products"] == []
    assert composed_names["sample"] == composed_names["deepfashion_multimodal"] != []
    cfg = composed("train", ["data=deepfashion_multimodal"])
    assert cfg.targets.cardigans.metric == "image/category/precision@10[Cardigans]"
    assert not composed("train", ["targets=none"]).targets


def test_a_target_is_a_share() -> None:
    with pytest.raises(ConfigError, match="has rise=5"):
        asked(rise=5)


@pytest.mark.parametrize("rise", [0.0, -0.1, 1.01, 5.0])
def test_a_rise_is_above_zero_and_at_most_one(rise: float) -> None:
    with pytest.raises(ConfigError, match=f"has rise={rise}; it must be above 0 and at most 1"):
        Target(metric="image/neckline/hit@10", rise=rise)


@pytest.mark.parametrize("margin", [-0.01, 1.01])
def test_a_margin_is_within_zero_and_one(margin: float) -> None:
    with pytest.raises(ConfigError, match=f"has margin={margin}; it must be within 0 and 1"):
        Target(metric="image/neckline/hit@10", rise=None, margin=margin)


def test_targets_at_their_bounds_are_taken() -> None:
    made = Target(metric="image/neckline/hit@10", rise=1.0)
    assert (made.rise, made.margin) == (1.0, 0.02)  # two points, unless it is given
    for margin in (0.0, 1.0):
        assert Target(metric="x", rise=None, margin=margin).margin == margin


def fault_of(metric: str, **changes: Any) -> str:
    """Why a target does not fit the data; "" where it does."""
    options: dict[str, Any] = {"metrics": NAMES, "sliced": ["precision"], "values": VALUES}
    try:
        found = usable_targets(
            {"t": Target(metric=metric, rise=0.1)}, given=["t"], **options | changes
        )
    except ConfigError as e:
        return str(e)
    assert [target.metric for target in found] == [metric]
    return ""


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        ("image/neckline/hit@10", ""),
        ("image/neckline/precision@10[round]", ""),
        ("image/neckline/precision@10[macro]", ""),
        ("image/category/precision@10[Shorts]", ""),
        ("image/neckline/precision@10[Shorts]", "no neckline 'Shorts'; choose from macro, round"),
        ("image/neckline/precision@10[sqare]", "no neckline 'sqare'; did you mean square?"),
        ("image/neckline/precision@10[macr]", "did you mean macro?"),
        ("image/neckline/hit@10[macro]", "hit is not reported by value"),
        ("image/neckline/hits@10", "no such metric; did you mean image/neckline/hit@10?"),
        ("zzz", "no such metric; choose from image/category/hit@10, image/category/precision@10"),
    ],
)
def test_a_metric_or_a_value_that_is_not_there_is_named_with_the_nearest_or_a_choice(
    metric: str, fault: str
) -> None:
    found = fault_of(metric)
    assert fault in found
    assert bool(found) == bool(fault)


def test_frequencies_are_values_of_judged_queries_and_products_have_none() -> None:
    names = ["text/judged/ndcg@10", "image/product/precision@10"]
    for value in ("head", "torso", "tail", "macro"):
        assert fault_of(f"text/judged/ndcg@10[{value}]", metrics=names) == ""
    assert "judged has no values to slice by" in fault_of("text/judged/ndcg@10[x]", metrics=names)
    # The bands are those of judged queries alone.
    found = fault_of("image/product/precision@10[head]", metrics=names)
    assert "product has no values to slice by; choose from category, neckline" in found
    assert "there are none" in fault_of("image/x/hit@1", metrics=[])
    many = [f"z{i}/z{i}/z{i}" for i in range(20)]
    assert "z16/z16/z16?" not in fault_of("qqq", metrics=many)
    assert fault_of("qqq", metrics=many).endswith("z15/z15/z15")  # the eighth in their order
