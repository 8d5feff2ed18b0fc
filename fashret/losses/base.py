"""The contracts of losses and of the terms of a composite loss."""

from typing import Protocol

import torch
from torch import Tensor, nn

from fashret.types import Baseline, Batch, Relations, TrainingItems


class Loss(Protocol):
    """A differentiable scalar of two sets of embeddings and the relations of their pairs.

    What rows and columns are is the task's: photos and texts (`task=caption`), or photos and photos
    (`task=product`).

    A loss may have these as well:
        several_positives: if True, `task=caption` takes the captions of the product's other photos
            as positives too, else it leaves them out. Other tasks have several positives anyway.
        needs_products: if True, it classifies products, and only a task of products can use it.
        prepare(items, baseline): initialises the loss before training, as `Term.prepare` does.
        clamp_scale(): clamps learned temperatures; it is called after each optimizer step.
        temperature: the current temperature, which is logged.
    """

    def __call__(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss.

        Args:
            rows: (B, D) float embeddings, L2-normalised.
            columns: (M, D) float embeddings, L2-normalised.
            relations: (B, M) masks of positive and negative pairs.

        Returns:
            A scalar. If no pair is valid it is zero and depends on the embeddings and on every
            parameter of the loss (`no_pairs`).
        """
        ...


class Term(Protocol):
    """A weighted term of a composite loss beside its contrastive part.

    A term may have these as well:
        learns_from_values: True if attribute values alone can teach it, without any text.
        logged: further scalars of the last batch, by metric name.
    """

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Initialise the term before training.

        Args:
            items: the training items with their labels.
            baseline: the untrained model's embeddings of the items.
        """
        ...

    def __call__(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Compute the weighted term of a batch.

        Args:
            images: (B, D) float embeddings of the photos, L2-normalised.
            texts: (B, D) float embeddings of the texts, L2-normalised; zero where there is none.
            batch: the batch.

        Returns:
            A scalar, already multiplied by the term's weight.
        """
        ...


def prepare_loss(loss: nn.Module, items: TrainingItems, baseline: Baseline) -> None:
    """Initialise a loss before training, if it needs the items; see `Term.prepare`."""
    prepare = getattr(loss, "prepare", None)
    if prepare is not None:
        prepare(items, baseline)


def no_pairs(rows: Tensor, columns: Tensor, *parameters: Tensor) -> Tensor:
    """Return the loss of a batch without a valid pair: zero, with zero gradients.

    Args:
        rows: (B, D) float embeddings.
        columns: (M, D) float embeddings.
        parameters: parameters of the loss. Every process needs a gradient for each of them in
            every step (DistributedDataParallel fails otherwise).
    """
    total = rows.sum() + columns.sum()
    for parameter in parameters:
        total = total + parameter.sum()
    return total * torch.zeros((), dtype=rows.dtype, device=rows.device)
