"""Temperatures: learned or kept, within their bounds."""

import math

import pytest
import torch
from torch import nn

from fashret.errors import ConfigError
from fashret.losses import (
    InfoNCE,
    SigLIP,
    SupCon,
)
from fashret.types import Relations
from support.batches import embeddings


@pytest.mark.parametrize(
    "loss",
    [InfoNCE(temperature=0.02, max_scale=50.0), SigLIP(scale=50.0, max_scale=50.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_a_scale_at_its_bound_can_leave_it(loss: nn.Module) -> None:
    """Embeddings that agree nowhere want a lower scale, and equal ones a higher one."""
    rows, columns = embeddings()
    own = torch.eye(6, dtype=torch.bool)
    loss(rows, columns, Relations(own, ~own)).backward()
    assert loss.log_scale.grad is not None
    assert float(loss.log_scale.grad) > 0.0  # a step against it makes the scale smaller
    with torch.no_grad():
        loss.log_scale.add_(1.0)
    loss.clamp_scale()
    assert float(loss.scale()) == pytest.approx(50.0)
    with torch.no_grad():
        loss.log_scale.sub_(1.0)
    loss.clamp_scale()
    assert float(loss.temperature) == pytest.approx(math.e / 50.0)


def test_a_scale_that_starts_above_its_bound_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss.temperature=0.001: .* at most loss.max_scale=50"):
        InfoNCE(temperature=0.001, max_scale=50.0)
    with pytest.raises(ConfigError, match=r"loss.scale=200: .* at most loss.max_scale=100"):
        SigLIP(scale=200)
    with pytest.raises(ConfigError, match="must be above 0"):
        InfoNCE(temperature=0.0)
    fixed = InfoNCE(temperature=0.001, learn_temperature=False, max_scale=50.0)
    fixed.clamp_scale()
    assert float(fixed.temperature) == pytest.approx(0.001)  # what does not learn has no bound


def test_a_temperature_is_learned_or_kept() -> None:
    for loss in (InfoNCE(temperature=0.05), SupCon(temperature=0.05)):
        assert [name for name, _ in loss.named_parameters()] == ["log_scale"]
        assert float(loss.temperature.detach()) == pytest.approx(0.05)
    kept = SupCon(temperature=0.05, learn_temperature=False)
    assert not list(kept.parameters())
    assert not kept.state_dict()
    assert float(kept.temperature) == pytest.approx(0.05)


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_that_is_not_above_zero_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.scale={scale}: .* which must be above 0"):
        SigLIP(scale=scale)
