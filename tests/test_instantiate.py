"""Objects made of plain containers, without Hydra."""

import functools

import pytest
import torch

from fashret.errors import ConfigError
from fashret.instantiate import instantiate
from fashret.losses import Composite, InfoNCE, SupCon


def test_nested_nodes_are_made_from_the_inside() -> None:
    made = instantiate(
        {
            "_target_": "fashret.losses.Composite",
            "contrastive": {"_target_": "fashret.losses.InfoNCE", "temperature": 0.2},
            "terms": {"none": None},
        }
    )
    assert isinstance(made, Composite)
    assert isinstance(made.contrastive, InfoNCE)
    assert float(made.temperature) == pytest.approx(0.2)


def test_a_partial_takes_the_rest_later_and_live_objects_go_in_by_name() -> None:
    half = instantiate({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    assert isinstance(half, functools.partial)
    parameter = torch.nn.Parameter(torch.zeros(1))
    assert half([parameter]).param_groups[0]["lr"] == 0.5
    whole = instantiate({"_target_": "torch.optim.SGD", "lr": 0.25}, params=[parameter])
    assert whole.param_groups[0]["lr"] == 0.25
    listed = instantiate({"_target_": "torch.optim.SGD", "_args_": [[parameter]], "lr": 1.0})
    assert listed.param_groups[0]["params"] == [parameter]


@pytest.mark.parametrize("place", ["here", "in a mapping", "in a list"])
def test_nothing_is_made_where_one_target_is_not_allowed(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(SupCon, "__init__", lambda self, **options: made.append("SupCon"))
    evil = {"_target_": "os.system", "command": "true"}
    node = {"_target_": "fashret.losses.SupCon"}
    if place == "here":
        node = evil
    else:
        node["temperature"] = {"in a mapping": {"a": evil}, "in a list": [[evil]]}[place]  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"os\.system is not allowed"):
        instantiate(node, "loss")
    assert made == []


def test_what_does_not_fit_is_named_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"InfoNCE\) cannot be instantiated: .*'tmp"):
        instantiate({"_target_": "fashret.losses.InfoNCE", "tmp": 1}, "loss")
    with pytest.raises(ConfigError, match="loss has no _target_, the class to instantiate"):
        instantiate({"temperature": 1}, "loss")
