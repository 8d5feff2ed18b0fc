"""Attribute classification with a learned prototype of each value."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import no_pairs
from fashret.names import listed
from fashret.types import UNKNOWN, Baseline, Batch, TrainingItems


class AttributeClassification(nn.Module):
    """Pulls photos to the learned prototype of each of their values, away from the other values'.

    For an attribute with the values v, the unit vectors w_v, and the photo x of value y:

        - log( exp(x.w_y / t) / sum over v exp(x.w_v / t) )

    averaged over the photos whose value is known: normalised softmax (Zhai and Wu, Classification
    is a Strong Baseline for Deep Metric Learning, 2019). A photo whose value is unknown gives no
    gradient.

    Args:
        weight: weight of the term in the sum of a composite loss.
        attributes: weight by attribute; `category` may be one of them; null gives all attributes
            of the data the weight 1.
        temperature: temperature t that divides similarities, above 0.

    Attributes:
        directions: (V, D) parameter with the prototypes w of each attribute's V values.
        logged: accuracy of each attribute in the last batch, a scalar by metric name.
    """

    learns_from_values = True

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
        """Initialise each prototype with the mean of its value's training photos.

        Raises:
            ConfigError: the data does not have one of the attributes.
        """
        labels = items.labels
        images = baseline.image[items.rows].float()
        if self.attributes is None:
            self.attributes = dict.fromkeys(labels, 1.0)
        for name in self.attributes:
            if name not in labels:
                raise ConfigError(
                    f"loss.terms.*.attributes names {name}; the data has {listed(name, labels)}"
                )
            self._codes[name], values = labels[name]
            self.directions[_key(name)] = nn.Parameter(
                _means(images, self._codes[name][items.rows], len(values))
            )

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted loss of (B, D) photos, L2-normalised."""
        total = no_pairs(images, texts)
        assert self.attributes is not None, "prepare comes first"
        for name, weight in self.attributes.items():
            codes = self._codes[name][batch["index"].cpu()].to(images.device)
            known = codes != UNKNOWN
            if not bool(known.any()):
                # Kept in the graph: every process must have a gradient for it.
                total = total + 0.0 * self.directions[_key(name)].sum()
                continue
            logits = images @ nn.functional.normalize(self.directions[_key(name)], dim=1).T
            total = total + weight * nn.functional.cross_entropy(
                logits / self.temperature, codes, ignore_index=UNKNOWN
            )
            correct = logits.detach().argmax(dim=1) == codes
            self.logged[f"accuracy_{name}"] = correct[known].float().mean()
        return self.weight * total


def _means(embeddings: Tensor, codes: Tensor, count: int) -> Tensor:
    """Compute the (count, D) L2-normalised means of the (N, D) embeddings of each code."""
    known = codes != UNKNOWN
    sums = torch.zeros(max(1, count), embeddings.shape[1])
    sums.index_add_(0, codes[known], embeddings[known])
    return nn.functional.normalize(sums, dim=1)


def _key(attribute: str) -> str:
    """Make a parameter's name for an attribute; `type` and others are taken by `nn.Module`."""
    return f"of_{attribute}".replace(".", "_")
