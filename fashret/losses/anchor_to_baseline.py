"""A pull back to the untrained model."""

import torch
from torch import Tensor, nn

from fashret.types import Baseline, Batch, TrainingItems


class AnchorToBaseline(nn.Module):
    """Keeps embeddings near those of the untrained model.

        mean over the batch of  1 - x.x0, of photos and of texts, halved

    with the embedding x now and x0 before training. What the training data say nothing of is then
    forgotten less (in the spirit of Li and Hoiem, Learning without Forgetting, 2017).

    Args:
        weight: of the whole.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._image: Tensor | None = None
        self._text: Tensor | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Take the untrained model's embeddings."""
        self._image, self._text = baseline.image, baseline.text

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos and texts, L2-normalised or zero."""
        assert self._image is not None, "prepare comes first"
        assert self._text is not None, "prepare comes first"
        rows = batch["index"].cpu()
        own = (
            batch["caption_choice"] == 0
            if "caption_choice" in batch
            else torch.ones_like(batch["index"]) > 0
        )
        away = []
        for now, before, counts in (
            (images, self._image, torch.ones_like(own)),
            (texts, self._text, own),  # a sentence made of attributes has no embedding before
        ):
            was = before[rows].to(now) * counts[:, None]
            # A text that is not there is zero, before and now: it is not away.
            away.append((was.norm(dim=1).round() - (now * was).sum(dim=1)).mean())
        halved: Tensor = self.weight * (away[0] + away[1]) / 2
        return halved
