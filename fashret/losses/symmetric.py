"""What losses over several positives and negatives a row share."""

from collections.abc import Callable

import torch
from torch import Tensor

from fashret.losses.base import no_pairs
from fashret.types import Relations

PerRow = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(R, M) similarities and masks of positives and negatives, each row with both -> (R,) losses."""


def in_both_directions(
    per_row: PerRow, rows: Tensor, columns: Tensor, relations: Relations, *parameters: Tensor
) -> Tensor:
    """The mean of a loss over rows, and over columns, that have a positive and a negative.

    Args:
        per_row: the loss of each row.
        rows: (B, D) L2-normalised.
        columns: (M, D) L2-normalised.
        relations: of rows and columns.
        parameters: the loss's own, if it has any.

    Returns:
        A scalar; `no_pairs` where no row and no column has both.
    """
    similarity = rows @ columns.T
    losses = []
    for s, positive, negative in (
        (similarity, relations.positive, relations.negative),
        (similarity.T, relations.positive.T, relations.negative.T),
    ):
        valid = positive.any(dim=1) & negative.any(dim=1)
        if bool(valid.any()):
            losses.append(per_row(s[valid], positive[valid], negative[valid]).mean())
    return torch.stack(losses).mean() if losses else no_pairs(rows, columns, *parameters)


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """(R, M) -> (R,): log of the sum of exp over what is in the mask, which holds one a row."""
    # The lowest finite number, not -inf, whose gradient would be NaN in an empty row.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(dim=1)
