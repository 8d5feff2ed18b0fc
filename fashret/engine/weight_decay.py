"""Weight decay towards the initial weights instead of zero (L2-SP)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


class DecayToInitial:
    """Changes an optimizer's weight decay of some weights to decay towards their initial values.

    The initial value of a head is the projection of the pretrained model, a better prior than zero
    (L2-SP: Li et al., Explicit
    Inductive Bias for Transfer Learning with Convolutional Networks, 2018). Decoupled weight decay
    (AdamW) becomes `p <- p - lr * weight_decay * (p - p_0)`; decay that is a part of the gradient
    becomes `g <- g + weight_decay * (p - p_0)`. The optimizer itself and its state stay as they
    are: only the part of p_0 is added.

    Args:
        initial: the initial value of each weight.
    """

    def __init__(self, initial: Mapping[torch.nn.Parameter, Tensor]) -> None:
        self._initial = dict(initial)

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        """Add the decay towards the initial values; call it after backward, before the step."""
        for group in optimizer.param_groups:
            decay = group.get("weight_decay", 0.0)
            if not decay:
                continue
            decoupled = group.get("decoupled_weight_decay", False) or isinstance(
                optimizer, torch.optim.AdamW
            )
            for parameter in group["params"]:
                initial = self._initial.get(parameter)
                if initial is None or parameter.grad is None:
                    continue
                initial = self._initial[parameter] = _like(initial, parameter)
                if decoupled:
                    # The optimizer multiplies the weight by (1 - pull) after this.
                    pull = float(group["lr"]) * decay
                    parameter.add_(initial, alpha=pull / (1.0 - pull))
                else:
                    parameter.grad.add_(initial, alpha=-decay)


def _like(initial: Tensor, parameter: Tensor) -> Tensor:
    """The initial value on the parameter's device, sharded like the parameter."""
    if isinstance(parameter, DTensor) and not isinstance(initial, DTensor):
        initial = initial.to(parameter.device, parameter.dtype)
        return distribute_tensor(initial, parameter.device_mesh, parameter.placements)
    return initial.to(parameter.device, parameter.dtype)
