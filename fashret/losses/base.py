"""The contracts of losses and of the terms of a composite loss."""

from typing import Protocol

import torch
from torch import Tensor

from fashret.types import Baseline, Batch, Relations, TrainingItems


class Loss(Protocol):
    """A differentiable scalar over rows, columns and how they relate.

    A loss with `several_positives` set is given all photos of a product as positives, another only
    an item's own caption.
    """

    def __call__(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compare `rows` (B, D) with `columns` (M, D), both L2-normalised.

        Returns a scalar. Where no pair is valid it is zero and depends on the embeddings and on
        every parameter of the loss (`no_pairs`).
        """
        ...


class Term(Protocol):
    """What a composite loss adds to its contrastive part."""

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Learn of the items, and of the untrained model's catalog of them, before training."""
        ...

    def __call__(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """Judge the L2-normalised (B, D) embeddings of a batch: a scalar, weighted already."""
        ...


def no_pairs(rows: Tensor, columns: Tensor, *parameters: Tensor) -> Tensor:
    """The loss of a batch without a valid pair: zero, with a zero gradient for everything.

    Args:
        rows: (B, D) embeddings.
        columns: (M, D) embeddings.
        parameters: the loss's own parameters. Every process needs a gradient for each of them in
            every step (DistributedDataParallel ends a run otherwise).
    """
    total = rows.sum() + columns.sum()
    for parameter in parameters:
        total = total + parameter.sum()
    return total * torch.zeros((), dtype=rows.dtype, device=rows.device)
