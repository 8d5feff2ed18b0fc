"""Photos in tiers: the more that is known to be equal, the nearer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.functional.tiers import TierCodes, pair_tiers
from fashret.losses.base import no_pairs
from fashret.losses.supcon import SupCon
from fashret.types import Baseline, Batch, TrainingItems


class PairTiers(nn.Module):
    """Draws photos of a tier together, away from those that are known to be farther.

    The sum over the tiers of positives, each a supervised contrastive loss over photos: strong
    (one product, or one category and every known attribute), medium (one category and material),
    weak (one category and a design attribute). A tier's positives are its pairs and those of
    nearer tiers, its negatives what is known not to be (Zhang et al., Use All The Labels: A
    Hierarchical Multi-Label Contrastive Learning Framework, 2022). What is unknown is neither.

    Args:
        weight: of the whole.
        tiers: the weight of each; 0 leaves one out.
        temperature: what similarities are divided by; above 0.

    Attributes:
        logged: the value of each tier in the last batch.
    """

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
        """Take what is known of the items."""
        self._items = TierCodes.from_items(items)

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos, L2-normalised."""
        assert self._items is not None, "prepare comes first"
        items = self._items[batch["index"].cpu()]
        itself = torch.eye(len(images), dtype=torch.bool, device=images.device)
        total = no_pairs(images, texts)
        for tier, relations in pair_tiers(items[:, None], items[None]).relations_by_tier().items():
            if weight := self.tiers.get(tier, 0.0):
                value = self.loss(images, images, relations.to(images.device).without(itself))
                self.logged[f"loss_tiers_{tier}"] = value.detach()
                total = total + weight * value
        return self.weight * total
