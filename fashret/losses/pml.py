"""Any loss of pytorch-metric-learning, over the pairs of a task: `loss=pml`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import no_pairs
from fashret.losses.product_classes import ProductClasses
from fashret.names import listed
from fashret.types import UNKNOWN, Baseline, Relations, TrainingItems


class PML(nn.Module):
    """A loss of pytorch-metric-learning, by its name there.

    A loss of pairs or triplets gets the positive and negative pairs of the task's relations, once
    with the rows as anchors and once with the columns, and the two are averaged. A loss with a
    weight per class, such as SubCenterArcFaceLoss, gets rows and their products
    (task=product, task=street).

    Args:
        name: name of the class in `pytorch_metric_learning.losses`, such as ContrastiveLoss.
        options: arguments of the class; `num_classes` and `embedding_size` are given by fashret.

    Raises:
        ConfigError: the library is not installed, or has no such loss, or an option does not fit.
    """

    several_positives = True

    def __init__(self, *, name: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.name = name
        self._class = _class_named(name)
        self._options = dict(options or {})
        self._by_class = _has_weights(self._class)
        self.needs_products = self._by_class
        self.classes = ProductClasses()
        self.loss: nn.Module | None = None
        if not self._by_class:
            self.loss = self._made()

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Make the weights of a loss that classifies products."""
        if self._by_class:
            count = self.classes.prepare(items)
            self.loss = self._made(num_classes=count, embedding_size=baseline.image.shape[1])

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        loss = self.loss
        assert loss is not None, "prepare comes first"
        nothing = no_pairs(rows, columns, *loss.parameters())
        if self._by_class:
            classes = self.classes.of_rows(relations)
            known = classes != UNKNOWN
            return loss(rows[known], classes[known]) + nothing if bool(known.any()) else nothing
        values = [
            loss(anchors, indices_tuple=_pairs(positive, negative), ref_emb=others)
            for anchors, others, positive, negative in (
                (rows, columns, relations.positive, relations.negative),
                (columns, rows, relations.positive.T, relations.negative.T),
            )
        ]
        return torch.stack(values).mean() + nothing

    def _made(self, **given: int) -> nn.Module:
        try:
            made: nn.Module = self._class(**self._options, **given)
        except (TypeError, KeyError, ValueError, AssertionError) as e:
            raise ConfigError(f"loss.options do not fit {self.name}: {e}") from e
        return made


def _pairs(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pairs of masks as the library takes them: anchors, positives, anchors, negatives."""
    return (*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))  # type: ignore[return-value]  # nonzero of a matrix gives two


def _has_weights(loss: Any) -> bool:
    """Whether a loss of the library has a weight per class."""
    from pytorch_metric_learning.losses.mixins import (  # type: ignore[import-untyped]
        WeightMixin,
    )

    return issubclass(loss, WeightMixin)


def _class_named(name: str) -> Any:
    """Find a loss of the library.

    Raises:
        ConfigError: the library is not installed, or has no such loss.
    """
    try:
        from pytorch_metric_learning import losses  # type: ignore[import-untyped]
    except ImportError as e:
        raise ConfigError('loss=pml needs another package: pip install "fashret[pml]"') from e
    names = [n for n in dir(losses) if isinstance(getattr(losses, n), type) and n.endswith("Loss")]
    if name not in names:
        raise ConfigError(
            f"loss.name={name}: pytorch-metric-learning has no such loss; {listed(name, names)}"
        )
    return getattr(losses, name)
