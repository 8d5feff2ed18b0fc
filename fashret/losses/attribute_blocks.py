"""What the attribute blocks of a model learn."""

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.functional.blocks import Layout
from fashret.functional.relations import value_relations
from fashret.losses.supcon import SupCon
from fashret.types import Baseline, Batch, TrainingItems


class AttributeBlocks(nn.Module):
    """Draws photos and captions of one value together in the attribute's block, and values apart.

    For each block a supervised contrastive loss (Khosla et al., 2020) of photos against photos and
    of photos against captions, halved: positives are the items with the photo's value, negatives
    those with another; an unknown value is neither.

    Args:
        weight: of the whole.
        temperature: what similarities are divided by; above 0.

    Attributes:
        logged: the value of each block in the last batch.
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
        """Take the items' values."""
        self._items = items

    def forward(self, images: Tensor, texts: Tensor, batch: Batch, layout: Layout) -> Tensor:
        """The weighted loss of (B, D) embeddings, all blocks of them."""
        assert self._items is not None, "prepare comes first"
        rows = batch["index"].cpu()
        itself = torch.eye(len(rows), dtype=torch.bool, device=images.device)
        total = images.new_zeros(())
        for name in layout.attributes:
            codes = self._items.described[name][0][rows].to(images.device)
            relations = value_relations(codes, codes)
            said = (batch["caption"] >= 0)[None, :].expand_as(itself)
            photos, captions = layout.block(images, name), layout.block(texts, name)
            value = (
                self.loss(photos, photos, relations.without(itself))
                + self.loss(photos, captions, relations.without(~said))
            ) / 2
            self.logged[f"loss_block_{name}"] = value.detach()
            total = total + value
        return self.weight * total
