"""What is done with gradients where some weights are sharded; one process, without a group."""

import math

import pytest
import torch
from torch import nn

from fashret.engine import sharding
from fashret.engine.sharding import clip_by_norm, is_sharded, local_part


def weights() -> list[nn.Parameter]:
    """Gradients of norms 3, 4 and 12: 13 in all; the last weight has none."""
    made = [nn.Parameter(torch.zeros(2)) for _ in range(4)]
    for parameter, norm in zip(made, (3.0, 4.0, 12.0), strict=False):
        parameter.grad = torch.tensor([norm, 0.0])
    return made


@pytest.mark.parametrize("sharded", [0, 1, 2, 3])
@pytest.mark.parametrize("most", [1.0, 6.5, 20.0])
def test_gradients_are_clipped_by_the_norm_of_all(
    sharded: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = weights()
    first = {id(parameter) for parameter in made[:sharded]}
    monkeypatch.setattr(sharding, "is_sharded", lambda parameter: id(parameter) in first)
    clip_by_norm(made, most)
    scale = min(1.0, most / 13.0)
    for parameter, norm in zip(made, (3.0, 4.0, 12.0), strict=False):
        assert parameter.grad is not None
        assert parameter.grad.tolist() == [pytest.approx(norm * scale, rel=1e-5), 0.0]
    assert made[3].grad is None


def test_a_plain_tensor_is_its_own_part() -> None:
    tensor = torch.arange(3)
    assert not is_sharded(tensor)
    assert local_part(tensor) is tensor


def test_the_gradient_of_a_replicated_weight_is_the_mean_of_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other two processes have gradients of 4 and 9."""

    class Group:
        def get_world_size(self) -> int:
            return 3

        def all_reduce(self, gradient: torch.Tensor) -> None:
            gradient += 4.0 + 9.0

    monkeypatch.setattr(sharding, "distributed", Group())
    parameter = nn.Parameter(torch.ones(()))
    parameter.register_post_accumulate_grad_hook(sharding._average)
    (parameter * 2.0).backward()
    assert parameter.grad is not None
    assert math.isclose(float(parameter.grad), (2.0 + 4.0 + 9.0) / 3.0)


def test_blocks_are_sharded_before_the_whole_and_other_losses_are_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrapped: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr(sharding, "init_device_mesh", lambda kind, shape: (kind, shape))
    monkeypatch.setattr(
        sharding, "fully_shard", lambda module, **more: wrapped.append((module, more))
    )
    monkeypatch.setattr(sharding.distributed, "get_world_size", lambda: 2)

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_chunk: int | None = 5
            self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
            self.scale = nn.Parameter(torch.ones(()))

        def blocks(self) -> list[list[nn.Module]]:
            return [[self.layers[0], self.layers[1]], [self.layers[2]]]

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Backbone()

    towers = Towers()
    loss = nn.ParameterList([nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))])
    loss[1].requires_grad_(False)
    averaged: list[nn.Parameter] = []
    monkeypatch.setattr(sharding, "_average", averaged.append)
    sharding.shard(towers, [loss], torch.device("cpu"))  # type: ignore[arg-type]  # in its place
    assert [module for module, _ in wrapped] == [*towers.backbone.layers, towers]
    mesh = ("cpu", (2,))
    assert all(more["mesh"] == mesh for _, more in wrapped)
    assert wrapped[-1][1]["ignored_params"] == {towers.backbone.scale}
    assert towers.backbone.text_chunk is None
    (loss[0] * 2.0).backward()
    assert averaged == [loss[0]]
