"""A pull to what the untrained model finds."""

import torch
from torch import Tensor, nn

from fashret.types import UNKNOWN, Baseline, Batch, TrainingItems


class Distillation(nn.Module):
    """Keeps the order in which the untrained model finds the batch.

    With the similarities s of photos and captions now and s0 before training, over a row i:

        KL( softmax(s0_i / temperature) || softmax(s_i / temperature) ) * temperature^2

    averaged over the rows and over the two directions (Hinton et al., Distilling the Knowledge in
    a Neural Network, 2015; between batches of photos and captions as in Yang et al., CLIP-KD,
    2024). The teacher's embeddings are those of the catalog, so it costs no forward pass. Unlike
    `AnchorToBaseline` it lets embeddings move as long as their neighbours stay. Items without a
    caption, and captions that were made of attributes, are left out.

    Args:
        weight: of the whole.
        temperature: what similarities are divided by; above 0.
    """

    def __init__(self, *, weight: float, temperature: float) -> None:
        super().__init__()
        self.weight = weight
        self.temperature = temperature
        self._image: Tensor | None = None
        self._text: Tensor | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Take the untrained model's embeddings."""
        self._image, self._text = baseline.image, baseline.text

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos and texts, L2-normalised or zero."""
        assert self._image is not None, "prepare comes first"
        assert self._text is not None, "prepare comes first"
        told = batch["caption"] != UNKNOWN
        if "caption_choice" in batch:
            told &= batch["caption_choice"] == 0
        rows = batch["index"][told].cpu()
        before = self._image[rows].to(images) @ self._text[rows].to(texts).T
        now = images[told] @ texts[told].T
        away = self._apart(before, now) + self._apart(before.T, now.T)
        weighted: Tensor = self.weight * self.temperature**2 * away / (2 * max(len(rows), 1))
        return weighted

    def _apart(self, before: Tensor, now: Tensor) -> Tensor:
        """The divergence of (n, n) similarities, summed over the rows."""
        teacher, student = (
            torch.log_softmax(similarity / self.temperature, dim=1) for similarity in (before, now)
        )
        return nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
