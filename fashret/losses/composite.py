"""The sum of a contrastive loss and further weighted terms."""

from collections.abc import Mapping

from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import Term, prepare_loss
from fashret.types import Baseline, Batch, TrainingItems


class Composite(nn.Module):
    """The sum of a contrastive loss and of weighted terms, each of which is logged.

    Args:
        contrastive: the contrastive loss, such as `InfoNCE`.
        terms: terms by name, which apply their own weights; null leaves one out.

    Raises:
        ConfigError: a name cannot be that of a module.
    """

    def __init__(self, *, contrastive: nn.Module, terms: Mapping[str, nn.Module | None]) -> None:
        super().__init__()
        for name in terms:
            if "." in name or hasattr(nn.ModuleDict, name):
                raise ConfigError(
                    f"loss.terms.{name}: a term cannot have this name (it is torch's, or has a "
                    "dot): give it another one"
                )
        self.contrastive = contrastive
        self.terms = nn.ModuleDict({n: term for n, term in terms.items() if term is not None})

    @property
    def temperature(self) -> Tensor | None:
        """Temperature of the contrastive loss; None if it has none."""
        return getattr(self.contrastive, "temperature", None)

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Prepare the contrastive loss and every term; see `fashret.losses.base`."""
        prepare_loss(self.contrastive, items, baseline)
        for term in self._terms().values():
            term.prepare(items, baseline)

    def term_values(self, images: Tensor, texts: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Compute every term: weighted scalars by name, to add to the contrastive loss.

        Args:
            images: (B, D) float embeddings of the photos, L2-normalised.
            texts: (B, D) float embeddings of the texts, L2-normalised; zero where there is none.
            batch: the batch.
        """
        return {name: term(images, texts, batch) for name, term in self._terms().items()}

    def logged(self) -> dict[str, Tensor]:
        """Collect further scalars that the terms log of the last batch, by metric name."""
        logged: dict[str, Tensor] = {}
        for term in self.terms.values():
            logged |= getattr(term, "logged", {})
        return logged

    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]  # a ModuleDict holds any module


def contrastive_part(loss: nn.Module) -> nn.Module:
    """Return the contrastive loss of a composite loss; another loss is its own."""
    return loss.contrastive if isinstance(loss, Composite) else loss
