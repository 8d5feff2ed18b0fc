"""Classification of attributes, by the nearest direction of each value."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.types import UNKNOWN, Batch, no_pairs


class AttributeClassification(nn.Module):
    """Draws photos to a learned direction of each value they have, away from the other values'.

    For an attribute with the values v, the unit vectors w_v, and the photo x of value y:

        - log( exp(x.w_y / t) / sum over v exp(x.w_v / t) )

    averaged over the photos whose value is known: normalised softmax (Zhai and Wu, Classification
    is a Strong Baseline for Deep Metric Learning, 2019). A photo whose value is unknown gives no
    gradient.

    Args:
        weight: of the whole.
        attributes: the weight of each attribute; `category` may be one of them.
        temperature: t.
    """

    def __init__(
        self, *, weight: float, attributes: Mapping[str, float], temperature: float = 0.05
    ) -> None:
        super().__init__()
        if temperature <= 0.0:
            raise ConfigError(f"temperature is {temperature}: it must be above 0")
        self.weight = weight
        self.attributes = dict(attributes)
        self.temperature = temperature
        self.directions = nn.ParameterDict()
        self._codes: dict[str, Tensor] = {}

    def prepare(self, described: Mapping[str, tuple[Tensor, list[str]]], dim: int) -> None:
        """Make the directions of an item table's values.

        Raises:
            ConfigError: an attribute is none of the table's.
        """
        for name in self.attributes:
            if name not in described:
                raise ConfigError(
                    f"loss: attributes names {name}; the data has {', '.join(described)}"
                )
            self._codes[name], values = described[name]
            self.directions[name] = nn.Parameter(torch.randn(max(1, len(values)), dim))

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos, L2-normalised."""
        total = no_pairs(images, texts)
        for name, weight in self.attributes.items():
            codes = self._codes[name][batch["index"].cpu()].to(images.device)
            known = codes != UNKNOWN
            if not bool(known.any()):
                continue
            logits = images @ nn.functional.normalize(self.directions[name], dim=1).T
            total = total + weight * nn.functional.cross_entropy(
                logits / self.temperature, codes, ignore_index=UNKNOWN
            )
        return self.weight * total
