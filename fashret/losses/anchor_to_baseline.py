"""Regularisation towards the embeddings of the untrained model."""

import torch
from torch import Tensor, nn

from fashret.types import Baseline, Batch, TrainingItems


class AnchorToBaseline(nn.Module):
    """Keeps embeddings near those of the untrained model.

        mean over the batch of  1 - x.x0, averaged over photos and texts

    with the embedding x now and x0 before training. The model then forgets less of what the
    training data do not cover (in the spirit of Li and Hoiem, Learning without Forgetting, 2017).

    Args:
        weight: weight of the term in the sum of a composite loss.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._image: Tensor | None = None
        self._text: Tensor | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Store the untrained model's embeddings."""
        self._image, self._text = baseline.image, baseline.text

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted loss of (B, D) photos and texts, L2-normalised or zero."""
        assert self._image is not None, "prepare comes first"
        assert self._text is not None, "prepare comes first"
        rows = batch["index"].cpu()
        own = (
            batch["caption_choice"] == 0
            if "caption_choice" in batch
            else torch.ones_like(batch["index"]) > 0
        )
        distances = []
        for now, before, counts in (
            (images, self._image, torch.ones_like(own)),
            (texts, self._text, own),  # the baseline has no embedding of a filled template
        ):
            initial = before[rows].to(now) * counts[:, None]
            # A missing text is zero before and now: its distance is 0.
            distances.append((initial.norm(dim=1).round() - (now * initial).sum(dim=1)).mean())
        weighted: Tensor = self.weight * (distances[0] + distances[1]) / 2
        return weighted
