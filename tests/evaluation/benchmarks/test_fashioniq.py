"""Fashion IQ, on data whose numbers were worked out by hand."""

from pathlib import Path

import pytest

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import (
    FashionIQ,
)
from support.benchmarks import at, inputs, means_of, result_of
from support.official_sets import fashioniq


def test_fashioniq_by_hand(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    names = ["dress/C", "dress/D", "dress/E", "shirt/C", "shirt/G"]
    typed = {
        "is blue and is shorter": 60.0, "is red and is long": 50.0,
        "has stripes and is a shirt": 100.0,
    }  # fmt: skip
    on = inputs(at(0, 40, 33, 0, 90), typed=typed, item_id=names)
    given = {"split": "validation", "root": str(tmp_path), "weight_image": 0.5, "k": [1, 2]}
    found = means_of(FashionIQ(exclude_reference=False, **given), on)
    # C + "blue" is at 30 degrees and wants D (40): E (33) comes first where it is in the gallery.
    # D + "red" is at 45 and wants C (0): D, E, C, or D, C where only named photos are searched.
    # F is torn, so D -> F is no query. Shirts: C + text at 50 wants G (90), 40 against 50 away.
    assert found["dress (split gallery)"] == {"hit@1": 0.0, "hit@2": 0.5}
    assert found["dress (named gallery)"] == {"hit@1": 0.5, "hit@2": 1.0}
    assert found["shirt (split gallery)"] == {"hit@1": 1.0, "hit@2": 1.0}
    apart = means_of(FashionIQ(exclude_reference=True, **given), on)
    assert apart["dress (named gallery)"] == {"hit@1": 1.0, "hit@2": 1.0}
    tasks = list(FashionIQ(exclude_reference=False, **given).tasks(on))
    assert tasks[0].task.notes == ["dress: 1 queries without their photos or target"]
    outcomes = [result_of(task) for task in tasks]
    mean = FashionIQ(exclude_reference=False, **given).summary(outcomes)
    assert mean["mean over kinds (split gallery)"] == {"hit@1": 0.5, "hit@2": 0.75}


def test_fashioniq_without_targets_is_told_so(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    protocol = FashionIQ(
        split="test", root=str(tmp_path), weight_image=0.5, exclude_reference=False, k=[1]
    )
    with pytest.raises(ConfigError, match=r"split=test: no caption in .* has a target"):
        means_of(protocol, inputs(at(0)))


def test_fashioniq_without_its_photos_is_told_so(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    protocol = FashionIQ(
        split="validation", root=str(tmp_path), weight_image=0.5, exclude_reference=False, k=[1]
    )
    with pytest.raises(
        ConfigError, match="no query has both its reference and its target photo in the data"
    ):
        means_of(protocol, inputs(at(0), item_id=["dress/Z"]))
