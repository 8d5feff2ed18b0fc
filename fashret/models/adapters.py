"""Low-rank adapters (LoRA) in the towers' transformer blocks, by peft."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

_MARK = ".lora_"


def add_adapters(
    towers: nn.Module, blocks: Iterable[Iterable[nn.Module]], *, rank: int, alpha: float
) -> None:
    """Add a LoRA adapter to every attention, linear map and convolution of the blocks.

    New adapters do not change the output (Hu et al., LoRA: Low-Rank Adaptation of Large Language
    Models, 2021). Towers that have adapters keep them.

    Args:
        towers: module of both towers; modified in place.
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
        for name in _adaptable_layers(block, block_name)
    ]
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=alpha, target_modules=names),  # type: ignore[arg-type]  # a float serves
        towers,
    )


def adapter_parameters(backbone: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of the adapters."""
    return (p for name, p in backbone.named_parameters() if _MARK in name)


def merge_adapters(backbone: nn.Module) -> None:
    """Merge the adapters' updates into the weights in place, and remove the adapters."""
    if not any(True for _ in adapter_parameters(backbone)):
        return
    from peft.tuners.lora.layer import LoraLayer, MultiheadAttention

    layers: dict[str, Any] = {
        name: module for name, module in backbone.named_modules() if isinstance(module, LoraLayer)
    }
    for name, layer in layers.items():
        if isinstance(layer, MultiheadAttention):  # has an inner layer, which is merged with it
            merged = layer.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        elif not any(name.startswith(f"{outer}.") for outer in layers):
            layer.merge()
            merged = layer.get_base_layer()
        else:
            continue
        backbone.set_submodule(name, merged)


def _adaptable_layers(block: nn.Module, path: str) -> Iterator[str]:
    """Yield the paths of a block's layers that get adapters; an attention counts as one."""
    for name, module in block.named_children():
        child = f"{path}.{name}"
        if isinstance(module, nn.MultiheadAttention | nn.Linear) or _is_plain_convolution(module):
            yield child
        else:
            yield from _adaptable_layers(module, child)


def _is_plain_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1
