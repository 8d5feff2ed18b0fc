"""A contrastive loss and terms beside it."""

from collections.abc import Mapping

from torch import Tensor, nn

from fashret.losses.base import Term
from fashret.types import Baseline, Batch, Relations, TrainingItems


class Composite(nn.Module):
    """The sum of a contrastive loss and of weighted terms, each of which is logged.

    Args:
        contrastive: over rows, columns and relations.
        terms: by name; each carries its weight; one that is null is left out.
    """

    def __init__(self, *, contrastive: nn.Module, terms: Mapping[str, nn.Module | None]) -> None:
        super().__init__()
        self.contrastive = contrastive
        self.terms = nn.ModuleDict({n: term for n, term in terms.items() if term is not None})

    @property
    def temperature(self) -> Tensor | None:
        """The contrastive loss's, if it has one."""
        return getattr(self.contrastive, "temperature", None)

    @property
    def several_positives(self) -> bool:
        """Whether the contrastive loss wants all photos of a product as positives."""
        return getattr(self.contrastive, "several_positives", False)

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Prepare every term; see `fashret.types.Term`."""
        for term in self._terms().values():
            term.prepare(items, baseline)

    def parts(
        self, images: Tensor, texts: Tensor, relations: Relations, batch: Batch
    ) -> dict[str, Tensor]:
        """Each part's value by its name: scalars, whose sum is the loss."""
        parts = {"contrastive": self.contrastive(images, texts, relations)}
        return parts | {name: term(images, texts, batch) for name, term in self._terms().items()}

    def logged(self) -> dict[str, Tensor]:
        """What the terms have to say of the last batch beside their values."""
        found: dict[str, Tensor] = {}
        for term in self.terms.values():
            found |= getattr(term, "logged", {})
        return found

    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]  # a ModuleDict holds any module
