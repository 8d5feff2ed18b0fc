"""Symmetric InfoNCE with a learnable temperature."""

import torch
from torch import Tensor

from fashret.losses.base import no_pairs
from fashret.losses.temperature import Tempered
from fashret.types import Relations


class InfoNCE(Tempered):
    """Pulls each photo to its caption and each caption to its photo, against the batch.

    Over a row i with positives P(i) and negatives N(i), and the logits s = similarity /
    temperature:

        - mean over p in P(i) of  log( exp(s_ip) / (exp(s_ip) + sum over n in N(i) exp(s_in)) )

    averaged over the rows that have both, and over the two directions (van den Oord et al.,
    Representation Learning with Contrastive Predictive Coding, 2018; the symmetric form is
    CLIP's, Radford et al., 2021). Pairs in neither mask do not stand in the denominator: other
    photos of the product and equal captions are not pushed apart.

    Use it with large batches of captioned photos. With small batches, or over several machines,
    `siglip` does not need the whole batch in one softmax.

    Args:
        temperature: what similarities are divided by at the start; above 0.
        learn_temperature: whether it is trained.
        max_scale: the largest 1 / temperature (CLIP's 100 keeps training stable).
    """

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """The loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        logits = rows @ columns.T * self.scale()
        # The lowest finite number, not -inf: a row without negatives would have a NaN gradient.
        lowest = torch.finfo(logits.dtype).min
        others = torch.where(relations.negative, logits, lowest)
        row, column = relations.positive.nonzero(as_tuple=True)
        own = logits[row, column]
        directions = [
            _one_direction(own, place, others.logsumexp(dim=dim), lowest / 2)
            for place, dim in ((row, 1), (column, 0))
        ]
        valid = [loss for loss in directions if loss is not None]
        return torch.stack(valid).mean() if valid else no_pairs(rows, columns, self.log_scale)


def _one_direction(own: Tensor, place: Tensor, others: Tensor, least: float) -> Tensor | None:
    """The mean over the rows with a positive and a negative; None if there is no such row.

    Args:
        own: (P,) logits of the positive pairs.
        place: (P,) the row of each.
        others: (B,) logsumexp of each row's negatives.
        least: what it is above in a row that has one.
    """
    has_negative = others > least
    num_positive = torch.bincount(place, minlength=len(others))
    num_rows = (has_negative & (num_positive > 0)).sum()
    if not bool(num_rows):
        return None
    per_pair = torch.nn.functional.softplus(others[place] - own)
    return (per_pair * has_negative[place] / num_positive[place]).sum() / num_rows
