"""A hierarchical contrastive loss of photos over the tiers of `functional.tiers`."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.functional.tiers import TierCodes, pair_tiers
from fashret.losses.base import no_pairs
from fashret.losses.supcon import SupCon
from fashret.types import Baseline, Batch, TrainingItems


class PairTiers(nn.Module):
    """Pulls photos of a tier together, away from pairs that are known to be of farther tiers.

    The weighted sum over the tiers of positives, each a supervised contrastive loss over photos:
    strong (same product, or same category and every known attribute), medium (same category and a
    medium attribute, such as material), weak (same category and a weak attribute, such as
    pattern). A tier's positives are its pairs and those of nearer tiers, its negatives those that
    are known to be farther (Zhang et al., Use All The Labels: A Hierarchical Multi-Label
    Contrastive Learning Framework, 2022). Pairs with unknown values are neither.

    Args:
        weight: weight of the term in the sum of a composite loss.
        tiers: weight of each tier by its name (strong, medium, weak); 0 leaves one out.
        temperature: temperature that divides similarities, above 0.

    Attributes:
        logged: loss of each tier in the last batch, a scalar by metric name.
    """

    learns_from_values = True

    def __init__(
        self, *, weight: float, tiers: Mapping[str, float], temperature: float = 0.1
    ) -> None:
        super().__init__()
        unknown = set(tiers) - {"strong", "medium", "weak"}
        if unknown:
            raise ConfigError(
                f"loss.terms.*.tiers names {', '.join(unknown)}; there are strong, medium, weak"
            )
        self.weight = weight
        self.tiers = dict(tiers)
        self.loss = SupCon(temperature=temperature, learn_temperature=False)
        self.logged: dict[str, Tensor] = {}
        self._items: TierCodes | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Store the items' categories, products and attribute values."""
        self._items = TierCodes.from_items(items)

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted loss of (B, D) photos, L2-normalised."""
        assert self._items is not None, "prepare comes first"
        items = self._items[batch["index"].cpu()]
        same_item = torch.eye(len(images), dtype=torch.bool, device=images.device)
        total = no_pairs(images, texts)
        for tier, relations in pair_tiers(items[:, None], items[None]).relations_by_tier().items():
            if weight := self.tiers.get(tier, 0.0):
                value = self.loss(images, images, relations.to(images.device).without(same_item))
                self.logged[f"loss_tiers_{tier}"] = value.detach()
                total = total + weight * value
        return self.weight * total
