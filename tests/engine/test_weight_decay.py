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
