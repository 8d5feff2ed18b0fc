"""Shared code of losses with several positives and negatives per row, over both directions."""

from collections.abc import Callable

import torch
from torch import Tensor

from fashret.losses.base import no_pairs
from fashret.types import Relations

PerRow = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(R, M) similarities and masks of positives and negatives -> (R,) losses; each row has both."""


def in_both_directions(
    per_row: PerRow, rows: Tensor, columns: Tensor, relations: Relations, *parameters: Tensor
) -> Tensor:
    """Average a loss over rows, and over columns, that have a positive and a negative.

    Where positives have grades, a row is weighted by the mean grade of its positives.

    Args:
        per_row: computes the loss of each row.
        rows: (B, D) float embeddings, L2-normalised.
        columns: (M, D) float embeddings, L2-normalised.
        relations: (B, M) masks of positive and negative pairs.
        parameters: parameters of the loss, if it has any; see `no_pairs`.

    Returns:
        A scalar; `no_pairs` if no row and no column has both.
    """
    similarity = rows @ columns.T
    grades, turned = relations.weight, None if relations.weight is None else relations.weight.T
    losses = []
    for s, positive, negative, grade in (
        (similarity, relations.positive, relations.negative, grades),
        (similarity.T, relations.positive.T, relations.negative.T, turned),
    ):
        valid = positive.any(dim=1) & negative.any(dim=1)
        if bool(valid.any()):
            values = per_row(s[valid], positive[valid], negative[valid])
            if grade is not None:
                weight = grade[valid].sum(dim=1) / positive[valid].sum(dim=1)
                values = values * weight / weight.mean()
            losses.append(values.mean())
    return torch.stack(losses).mean() if losses else no_pairs(rows, columns, *parameters)


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """Compute the logsumexp of each row's masked values, (R, M) -> (R,); no row may be empty."""
    # The lowest finite number, not -inf, whose gradient would be NaN in an empty row.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(dim=1)
