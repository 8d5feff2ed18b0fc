"""A margin loss between a photo's own caption and those of its hard negatives."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fashret.errors import ConfigError
from fashret.functional.relations import pair_relations
from fashret.functional.tiers import TierCodes, pair_tiers
from fashret.losses.base import no_pairs
from fashret.names import listed
from fashret.types import Baseline, Batch, TrainingItems


class HardNegatives(nn.Module):
    """Keeps a photo closer to its own caption than to those of its hard negatives, by a margin.

    Over a photo i of the batch with the caption i and the K nearest captions n of items of its
    category that are known to differ from it in an attribute:

        mean over n of  t log(1 + exp( (s_in - s_ii + margin) / t ))

    a soft triplet loss (Hermans et al., In Defense of the Triplet Loss, 2017), and the same from
    captions to photos. Captions of the same product and equal captions are never
    negatives. It needs batches with such items: use miner=hard or miner=pairs.

    Args:
        weight: weight of the term in the sum of a composite loss.
        margin: cosine similarity by which the own caption should be closer.
        nearest: number K of hard negatives per row, at least 1.
        attributes: names of the attributes whose differences count; null for all.
        temperature: temperature t, above 0.

    Attributes:
        logged: mean number of hard negatives per photo in the last batch, by metric name.
    """

    def __init__(
        self,
        *,
        weight: float,
        margin: float = 0.1,
        nearest: int = 5,
        attributes: Sequence[str] | None = None,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        if temperature <= 0.0 or nearest < 1:
            raise ConfigError(
                f"loss.terms.*: temperature={temperature} must be above 0 and nearest={nearest} "
                "at least 1"
            )
        self.weight = weight
        self.margin = margin
        self.nearest = nearest
        self.attributes = attributes
        self.temperature = temperature
        self.logged: dict[str, Tensor] = {}
        self._items: TierCodes | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Store the items' categories, products and attribute values.

        Raises:
            ConfigError: the data does not have one of the attributes.
        """
        for name in self.attributes or ():
            if name not in items.labels:
                raise ConfigError(
                    f"loss.terms.*.attributes names {name}; the data has "
                    f"{listed(name, items.labels)}"
                )
        self._items = TierCodes.from_items(items, self.attributes)

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted loss of (B, D) photos and captions, L2-normalised."""
        assert self._items is not None, "prepare comes first"
        items = self._items[batch["index"].cpu()]
        hard = pair_tiers(items[:, None], items[None]).hard.to(images.device)
        hard &= pair_relations(batch, batch).negative  # captions may vary from epoch to epoch
        similarity = images @ texts.T
        positive = similarity.diagonal()
        self.logged["hard_negatives"] = hard.sum(dim=1).float().mean()
        if not bool(hard.any()):
            return no_pairs(images, texts)
        losses = [
            self._one_direction(s, positive, mask)
            for s, mask in ((similarity, hard), (similarity.T, hard.T))
        ]
        return self.weight * torch.stack(losses).mean()

    def _one_direction(self, similarity: Tensor, positive: Tensor, hard: Tensor) -> Tensor:
        """Average the loss over the rows with a hard negative.

        Args:
            similarity: (B, B) similarities.
            positive: (B,) similarity of each row to its own column.
            hard: (B, B) bool mask of hard negatives.
        """
        lowest = torch.finfo(similarity.dtype).min
        nearest = min(self.nearest, similarity.shape[1])
        top = similarity.masked_fill(~hard, lowest).topk(nearest, dim=1)
        valid = hard.gather(1, top.indices)
        gap = (top.values.clamp(min=-1.0) - positive[:, None] + self.margin) / self.temperature
        per_pair = self.temperature * softplus(gap) * valid
        rows = valid.any(dim=1)
        return (per_pair.sum(dim=1)[rows] / valid.sum(dim=1)[rows]).mean()
