"""Shard weights over processes with FSDP2: each process stores a part of every tensor."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fashret.models.retriever import Retriever


def shard(retriever: Retriever, others: Iterable[nn.Module], device: torch.device) -> None:
    """Wrap a retriever with FSDP2, one transformer block at a time.

    The weights of a block are gathered when it computes and freed afterwards, so that a process
    needs memory for its share of weights, gradients and optimizer state, and for one block (Zhao et
    al., PyTorch FSDP, 2023).

    Args:
        retriever: the model with trained towers, without adapters; changed in place.
        others: modules that are replicated instead, such as losses with a temperature; their
            gradients are averaged over the processes.
        device: the device of this process.
    """
    assert retriever.backbone is not None, "heads alone are not sharded"
    # FSDP's forward is collective: every process needs the same number of passes.
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


def is_sharded(parameter: Tensor) -> bool:
    """Return whether a tensor is sharded over processes."""
    return isinstance(parameter, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process stores."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def clip_by_norm(parameters: Sequence[Tensor], max_norm: float) -> None:
    """Clip gradients by their total norm over sharded and unsharded parameters.

    Args:
        parameters: the parameters with their gradients.
        max_norm: the maximum total norm.
    """
    learning = [p for p in parameters if p.grad is not None]
    parts = (
        [p for p in learning if is_sharded(p)],
        [p for p in learning if not is_sharded(p)],
    )
    norms = []
    for part in filter(None, parts):
        norm = nn.utils.get_total_norm([p.grad for p in part if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.stack(norms).norm()
    for part in filter(None, parts):
        nn.utils.clip_grads_with_norm_(part, max_norm, total)


def _average(parameter: Tensor) -> None:
    """Average a gradient over the processes."""
    assert parameter.grad is not None
    distributed.all_reduce(parameter.grad)
    parameter.grad /= distributed.get_world_size()
