"""Weights that are shared out over processes: each holds a part of every tensor."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fashret.models.retriever import Retriever


def shard(retriever: Retriever, others: Iterable[nn.Module], device: torch.device) -> None:
    """Share out a retriever, a block of its towers at a time (Zhao et al., PyTorch FSDP, 2023).

    A block's weights are gathered when it computes, and let go behind it, so that a process needs
    memory for its share of the weights, gradients and optimizer, and for one block.

    Args:
        retriever: with towers that learn, without adapters; changed in place.
        others: what learns beside it (losses, with a temperature or prototypes): every process
            holds it whole, and its gradient is the mean over the processes.
        device: where this process computes.
    """
    assert retriever.backbone is not None, "heads alone are not shared out"
    # Every process must compute as often as the others, however many texts it has.
    retriever.backbone.text_chunk = None
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for blocks in retriever.backbone.blocks():
        for block in blocks:
            fully_shard(block, mesh=mesh)
    scales = {p for p in retriever.parameters() if p.ndim == 0}  # open_clip's, which do not learn
    fully_shard(retriever, mesh=mesh, ignored_params=scales)
    for module in others:
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_average)


def is_shared_out(parameter: Tensor) -> bool:
    """Whether this process holds a part of it only."""
    return isinstance(parameter, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def clip_by_norm(parameters: Sequence[Tensor], most: float) -> None:
    """Scale the gradients down to a norm over all of them, shared out and whole.

    Args:
        parameters: with their gradients.
        most: the norm that they may have together.
    """
    learning = [p for p in parameters if p.grad is not None]
    parts = (
        [p for p in learning if is_shared_out(p)],
        [p for p in learning if not is_shared_out(p)],
    )
    norms = []
    for part in filter(None, parts):
        norm = nn.utils.get_total_norm([p.grad for p in part if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.stack(norms).norm()
    for part in filter(None, parts):
        nn.utils.clip_grads_with_norm_(part, most, total)


def _average(parameter: Tensor) -> None:
    """Make a gradient the mean over the processes."""
    assert parameter.grad is not None
    distributed.all_reduce(parameter.grad)
    parameter.grad /= distributed.get_world_size()
