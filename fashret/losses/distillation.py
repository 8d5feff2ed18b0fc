"""Distillation of the untrained model's rankings."""

import torch
from torch import Tensor, nn

from fashret.types import UNKNOWN, Baseline, Batch, TrainingItems


class Distillation(nn.Module):
    """Keeps the similarity distributions of the untrained model within the batch.

    With the similarities s of photos and captions now and s0 before training, over a row i:

        KL( softmax(s0_i / temperature) || softmax(s_i / temperature) ) * temperature^2

    averaged over the rows and over the two directions (Hinton et al., Distilling the Knowledge in
    a Neural Network, 2015; between batches of photos and captions as in Yang et al., CLIP-KD,
    2024). The teacher's embeddings are read from its catalog, so it costs no forward pass. Unlike
    `AnchorToBaseline` it lets embeddings move as long as their neighbours stay. Items without a
    caption, and captions that were filled from attributes, are left out.

    Args:
        weight: weight of the term in the sum of a composite loss.
        temperature: temperature that divides similarities, above 0.
    """

    def __init__(self, *, weight: float, temperature: float) -> None:
        super().__init__()
        self.weight = weight
        self.temperature = temperature
        self._image: Tensor | None = None
        self._text: Tensor | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Store the untrained model's embeddings."""
        self._image, self._text = baseline.image, baseline.text

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted loss of (B, D) photos and texts, L2-normalised or zero."""
        assert self._image is not None, "prepare comes first"
        assert self._text is not None, "prepare comes first"
        has_text = batch["caption"] != UNKNOWN
        if "caption_choice" in batch:
            has_text &= batch["caption_choice"] == 0
        rows = batch["index"][has_text].cpu()
        before = self._image[rows].to(images) @ self._text[rows].to(texts).T
        now = images[has_text] @ texts[has_text].T
        total = self._divergence(before, now) + self._divergence(before.T, now.T)
        weighted: Tensor = self.weight * self.temperature**2 * total / (2 * max(len(rows), 1))
        return weighted

    def _divergence(self, before: Tensor, now: Tensor) -> Tensor:
        """Sum the KL divergences of the rows of (n, n) similarities."""
        teacher, student = (
            torch.log_softmax(similarity / self.temperature, dim=1) for similarity in (before, now)
        )
        return nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
