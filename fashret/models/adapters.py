"""Low-rank adapters in the towers' blocks, by peft."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

_MARK = ".lora_"


def add_adapters(
    towers: nn.Module, blocks: Iterable[Iterable[nn.Module]], *, rank: int, alpha: float
) -> None:
    """Put an adapter beside every attention, linear map and convolution of the blocks.

    They begin by adding nothing (Hu et al., LoRA: Low-Rank Adaptation of Large Language Models,
    2021). Towers that have adapters keep them.

    Args:
        towers: changed in place.
        blocks: the transformer blocks, or stages, of each tower, which get adapters.
        rank: LoRA rank of the update of each weight.
        alpha: LoRA alpha; the update is scaled by alpha / rank.

    Raises:
        ConfigError: the towers have no list of blocks.
    """
    if any(True for _ in adapter_parameters(towers)):
        return
    from peft import LoraConfig, inject_adapter_in_model

    inside = {id(block) for tower in blocks for block in tower}
    names = [
        name
        for block_name, block in towers.named_modules()
        if id(block) in inside
        for name in _maps(block, block_name)
    ]
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=alpha, target_modules=names),  # type: ignore[arg-type]  # a float serves
        towers,
    )


def adapter_parameters(backbone: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of the adapters."""
    return (p for name, p in backbone.named_parameters() if _MARK in name)


def merge_adapters(backbone: nn.Module) -> None:
    """Add what the adapters add to the weights themselves, and take the adapters away."""
    if not any(True for _ in adapter_parameters(backbone)):
        return
    from peft.tuners.lora.layer import LoraLayer, MultiheadAttention

    layers: dict[str, Any] = {
        name: module for name, module in backbone.named_modules() if isinstance(module, LoraLayer)
    }
    for name, layer in layers.items():
        if isinstance(layer, MultiheadAttention):  # which holds a layer of its own, merged with it
            merged = layer.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        elif not any(name.startswith(f"{outer}.") for outer in layers):
            layer.merge()
            merged = layer.get_base_layer()
        else:
            continue
        backbone.set_submodule(name, merged)


def _maps(block: nn.Module, path: str) -> Iterator[str]:
    """The names of a block's maps; an attention counts as one."""
    for name, module in block.named_children():
        where = f"{path}.{name}"
        if isinstance(module, nn.MultiheadAttention | nn.Linear) or _is_plain(module):
            yield where
        else:
            yield from _maps(module, where)


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1
