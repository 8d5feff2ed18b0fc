"""The loss of a model's attribute blocks."""

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.functional.blocks import Layout
from fashret.functional.relations import value_relations
from fashret.losses.supcon import SupCon
from fashret.types import Baseline, Batch, TrainingItems


class AttributeBlocks(nn.Module):
    """Pulls photos and captions with one value together in the attribute's block.

    For each block the mean of two supervised contrastive losses (Khosla et al., 2020): of photos
    against photos, and of photos against captions. Positives are the items with the photo's value,
    negatives those with another one; an unknown value is neither.

    Args:
        weight: weight of the loss beside the contrastive loss.
        temperature: temperature that divides similarities, above 0.

    Attributes:
        logged: loss of each block in the last batch, a scalar by metric name.
    """

    def __init__(self, *, weight: float = 1.0, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0.0:
            raise ConfigError(f"block_loss.temperature is {temperature}: it must be above 0")
        self.weight = weight
        self.loss = SupCon(temperature=temperature, learn_temperature=False)
        self.logged: dict[str, Tensor] = {}
        self._items: TrainingItems | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Store the items' attribute values."""
        self._items = items

    def forward(self, images: Tensor, texts: Tensor, batch: Batch, layout: Layout) -> Tensor:
        """Compute the weighted loss of (B, D) embeddings with all their blocks."""
        assert self._items is not None, "prepare comes first"
        rows = batch["index"].cpu()
        same_item = torch.eye(len(rows), dtype=torch.bool, device=images.device)
        total = images.new_zeros(())
        for name in layout.attributes:
            codes = self._items.labels[name][0][rows].to(images.device)
            relations = value_relations(codes, codes)
            has_caption = (batch["caption"] >= 0)[None, :].expand_as(same_item)
            photos, captions = layout.block(images, name), layout.block(texts, name)
            value = (
                self.loss(photos, photos, relations.without(same_item))
                + self.loss(photos, captions, relations.without(~has_caption))
            ) / 2
            self.logged[f"loss_block_{name}"] = value.detach()
            total = total + value
        return self.weight * total
