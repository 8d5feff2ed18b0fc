"""AdamW with layer-wise learning-rate decay."""

from collections.abc import Iterable
from typing import Any

import torch

from fashret.errors import ConfigError


class LayerwiseAdamW(torch.optim.AdamW):
    """AdamW with the learning rate `lr * layer_decay ** depth`.

    Depth 0 is the heads, 1 the last block of a tower, and so on to its embeddings: what is near
    the photos and words is general and changes little, what is near the heads learns freely
    (Clark et al., ELECTRA, 2020; Bao et al., BEiT, 2021, use 0.65 to 0.8).

    Args:
        params: parameter groups, each with its `depth`.
        lr: the learning rate of the heads.
        layer_decay: the factor from a transformer block to the one below it, above 0 and at most 1.
        betas: as in `torch.optim.AdamW`.
        eps: as in `torch.optim.AdamW`.
        weight_decay: as in `torch.optim.AdamW`.

    Raises:
        ConfigError: `layer_decay` is out of its range.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        layer_decay: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"optimizer.layer_decay={layer_decay}: it must be in (0, 1]")
        groups = [{**group, "lr": lr * layer_decay ** group["depth"]} for group in params]
        super().__init__(
            groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay
        )
