"""Decay towards where the weights began."""

import pytest
import torch
from torch import nn

from fashret.engine.weight_decay import DecayToInitial

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_weight_decay_pulls_a_head_towards_where_it_began(
    optimizer: type[torch.optim.Optimizer],
) -> None:
    """Without a gradient: p - lr * decay * (p - p0) for the head, p - lr * decay * p for others."""
    head, other = nn.Parameter(torch.tensor([5.0])), nn.Parameter(torch.tensor([5.0]))
    made = optimizer([head, other], lr=0.1, weight_decay=0.5)  # type: ignore[call-arg]
    for parameter in (head, other):
        parameter.grad = torch.zeros(1)
    decay = DecayToInitial({head: torch.tensor([3.0])})
    decay.before_step(made)
    made.step()
    assert float(head) == pytest.approx(5.0 - 0.1 * 0.5 * (5.0 - 3.0))
    assert float(other) == pytest.approx(5.0 - 0.1 * 0.5 * 5.0)


def test_each_group_decays_at_its_own_rate_and_what_has_no_gradient_stays() -> None:
    """AdamW with a zero gradient: p - lr * decay * (p - p0), by the group's values."""
    heads = [nn.Parameter(torch.tensor([5.0, -2.0])) for _ in range(4)]
    still = heads[3]
    optimizer = torch.optim.AdamW(
        [
            {"params": heads[:1], "lr": 0.1, "weight_decay": 0.5},
            {"params": heads[1:2], "lr": 0.2, "weight_decay": 0.0},
            {"params": [heads[2], still], "lr": 0.4, "weight_decay": 0.25},
        ]
    )
    for head in heads[:3]:
        head.grad = torch.zeros(2)
    start = torch.tensor([3.0, 1.0])
    DecayToInitial({head: start.clone() for head in heads}).before_step(optimizer)
    assert still.tolist() == [5.0, -2.0]
    optimizer.step()
    began = torch.tensor([5.0, -2.0])
    for head, pull in zip(heads, (0.05, 0.0, 0.1, 0.0), strict=True):
        torch.testing.assert_close(head.detach(), began - pull * (began - start))


@pytest.mark.parametrize("decoupled", [True, False])
def test_an_optimizer_says_that_its_decay_is_decoupled(decoupled: bool) -> None:
    """Decay that is a part of the gradient is -decay * p0 there; decoupled, it is in the weight."""
    head = nn.Parameter(torch.tensor([5.0]))
    head.grad = torch.tensor([1.0])
    optimizer = torch.optim.SGD([head], lr=0.1, weight_decay=0.5)
    if decoupled:
        optimizer.param_groups[0]["decoupled_weight_decay"] = True
    DecayToInitial({head: torch.tensor([3.0], dtype=torch.float64)}).before_step(optimizer)
    assert head.grad is not None
    if decoupled:
        assert float(head.grad) == 1.0
        # times (1 - 0.05) it is 5 * 0.95 + 0.05 * 3
        assert 0.95 * float(head.detach()) == pytest.approx(5.0 * 0.95 + 0.05 * 3.0)
    else:
        assert float(head.grad) == pytest.approx(1.0 - 0.5 * 3.0)
        assert float(head.detach()) == 5.0


def test_an_optimizer_without_weight_decay_is_left_alone() -> None:
    head = nn.Parameter(torch.tensor([5.0]))
    head.grad = torch.tensor([1.0])
    optimizer = torch.optim.SGD([head], lr=0.1)
    del optimizer.param_groups[0]["weight_decay"]
    DecayToInitial({head: torch.tensor([3.0])}).before_step(optimizer)
    assert (float(head.detach()), float(head.grad)) == (5.0, 1.0)
