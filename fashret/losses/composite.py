"""The sum of a contrastive loss and further weighted terms."""

from collections.abc import Mapping

from torch import Tensor, nn

from fashret.losses.base import Term
from fashret.types import Baseline, Batch, Relations, TrainingItems


class Composite(nn.Module):
    """The sum of a contrastive loss and of weighted terms, each of which is logged.

    Args:
        contrastive: the contrastive loss, such as `InfoNCE`.
        terms: terms by name, which apply their own weights; null leaves one out.
    """

    def __init__(self, *, contrastive: nn.Module, terms: Mapping[str, nn.Module | None]) -> None:
        super().__init__()
        self.contrastive = contrastive
        self.terms = nn.ModuleDict({n: term for n, term in terms.items() if term is not None})

    @property
    def temperature(self) -> Tensor | None:
        """Temperature of the contrastive loss; None if it has none."""
        return getattr(self.contrastive, "temperature", None)

    @property
    def several_positives(self) -> bool:
        """Whether the contrastive loss takes all photos of a product as positives."""
        return getattr(self.contrastive, "several_positives", False)

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Prepare every term; see `fashret.losses.base.Term`."""
        for term in self._terms().values():
            term.prepare(items, baseline)

    def parts(
        self, images: Tensor, texts: Tensor, relations: Relations, batch: Batch
    ) -> dict[str, Tensor]:
        """Compute the contrastive loss and every term: scalars by name, whose sum is the loss.

        Args:
            images: (B, D) float embeddings of the photos, L2-normalised.
            texts: (B, D) float embeddings of the texts, L2-normalised; zero where there is none.
            relations: (B, B) masks of positive and negative pairs.
            batch: the batch.
        """
        parts = {"contrastive": self.contrastive(images, texts, relations)}
        return parts | {name: term(images, texts, batch) for name, term in self._terms().items()}

    def logged(self) -> dict[str, Tensor]:
        """Collect further scalars that the terms log of the last batch, by metric name."""
        logged: dict[str, Tensor] = {}
        for term in self.terms.values():
            logged |= getattr(term, "logged", {})
        return logged

    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]  # a ModuleDict holds any module
