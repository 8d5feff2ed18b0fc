"""Classification of attributes, by the nearest direction of each value."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import no_pairs
from fashret.names import listed
from fashret.types import UNKNOWN, Baseline, Batch, TrainingItems


class AttributeClassification(nn.Module):
    """Draws photos to a learned direction of each value they have, away from the other values'.

    For an attribute with the values v, the unit vectors w_v, and the photo x of value y:

        - log( exp(x.w_y / t) / sum over v exp(x.w_v / t) )

    averaged over the photos whose value is known: normalised softmax (Zhai and Wu, Classification
    is a Strong Baseline for Deep Metric Learning, 2019). A photo whose value is unknown gives no
    gradient.

    Args:
        weight: of the whole.
        attributes: the weight of each attribute; `category` may be one of them; null gives all of
            the data the weight 1.
        temperature: t.

    Attributes:
        logged: the accuracy of each attribute in the last batch.
    """

    def __init__(
        self, *, weight: float, attributes: Mapping[str, float] | None, temperature: float = 0.05
    ) -> None:
        super().__init__()
        if temperature <= 0.0:
            raise ConfigError(f"loss.terms.*.temperature is {temperature}: it must be above 0")
        self.weight = weight
        self.attributes = None if attributes is None else dict(attributes)
        self.temperature = temperature
        self.directions = nn.ParameterDict()
        self.logged: dict[str, Tensor] = {}
        self._codes: dict[str, Tensor] = {}

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Begin with the mean of each value's training photos under the untrained model.

        Raises:
            ConfigError: an attribute is none of the table's.
        """
        described = items.described
        images = baseline.image[items.rows].float()
        if self.attributes is None:
            self.attributes = dict.fromkeys(described, 1.0)
        for name in self.attributes:
            if name not in described:
                raise ConfigError(
                    f"loss.terms.*.attributes names {name}; the data has {listed(name, described)}"
                )
            self._codes[name], values = described[name]
            self.directions[_key(name)] = nn.Parameter(
                _means(images, self._codes[name][items.rows], len(values))
            )

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos, L2-normalised."""
        total = no_pairs(images, texts)
        assert self.attributes is not None, "prepare comes first"
        for name, weight in self.attributes.items():
            codes = self._codes[name][batch["index"].cpu()].to(images.device)
            known = codes != UNKNOWN
            if not bool(known.any()):
                # In the graph all the same: every process must have a gradient for it.
                total = total + 0.0 * self.directions[_key(name)].sum()
                continue
            logits = images @ nn.functional.normalize(self.directions[_key(name)], dim=1).T
            total = total + weight * nn.functional.cross_entropy(
                logits / self.temperature, codes, ignore_index=UNKNOWN
            )
            right = logits.detach().argmax(dim=1) == codes
            self.logged[f"accuracy_{name}"] = right[known].float().mean()
        return self.weight * total


def _means(embeddings: Tensor, codes: Tensor, count: int) -> Tensor:
    """(count, D) unit means of the embeddings (N, D) of each code."""
    known = codes != UNKNOWN
    sums = torch.zeros(max(1, count), embeddings.shape[1])
    sums.index_add_(0, codes[known], embeddings[known])
    return nn.functional.normalize(sums, dim=1)


def _key(attribute: str) -> str:
    """A parameter's name for an attribute: `type` and the like are names of modules' own."""
    return f"of_{attribute}".replace(".", "_")
