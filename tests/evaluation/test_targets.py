"""Targets: what a data set can give."""

import pytest

from fashret.cli.compose import Composed
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
