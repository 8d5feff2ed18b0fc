"""Matryoshka training: a loss at several nested widths of the embedding."""

from collections.abc import Sequence

from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import prepare_loss
from fashret.types import Baseline, Relations, TrainingItems


class Matryoshka(nn.Module):
    """Averages a loss over the first columns of the embeddings, at several widths, and over all.

    A truncated embedding, normalised again, is then an embedding as well, so that one model serves
    several sizes (Kusupati et al., Matryoshka Representation Learning, 2022, arXiv 2205.13147):

        (L(all columns) + sum over w in widths of L(first w columns)) / (1 + number of widths)

    Use it with `model.dim=<width>`, which orders the columns by how much of the similarities they
    carry, and `compress.dim` in evaluation.

    Args:
        loss: the loss at each width; its temperature is shared.
        widths: numbers of columns, each below the dimension of the embedding.
    """

    def __init__(self, *, loss: nn.Module, widths: Sequence[int]) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or len(set(widths)) < len(widths):
            raise ConfigError(
                f"loss.widths={list(widths)}: must be different numbers of at least 1"
            )
        if getattr(loss, "needs_products", False):
            raise ConfigError(
                f"loss.loss={type(loss).__name__} learns weights of the whole embedding, which "
                "narrower ones do not fit: use infonce, siglip, supcon or triplet"
            )
        self.loss = loss
        self.widths = tuple(widths)

    @property
    def temperature(self) -> Tensor | None:
        """Temperature of the loss; None if it has none."""
        return getattr(self.loss, "temperature", None)

    @property
    def several_positives(self) -> bool:
        """Whether the loss takes several positives in a row."""
        return bool(getattr(self.loss, "several_positives", False))

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Prepare the loss; see `fashret.losses.base`."""
        prepare_loss(self.loss, items, baseline)

    def check_dim(self, dim: int) -> None:
        """Raise ConfigError unless every width is below the dimension of the embedding."""
        if max(self.widths) >= dim:
            raise ConfigError(
                f"loss.widths={list(self.widths)}: must be below the dimension of the embedding, "
                f"{dim}"
            )

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        total: Tensor = self.loss(rows, columns, relations)
        for width in self.widths:
            short = (nn.functional.normalize(part[:, :width], dim=-1) for part in (rows, columns))
            total = total + self.loss(*short, relations)
        return total / (1 + len(self.widths))
