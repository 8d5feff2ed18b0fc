"""Symmetric InfoNCE with a learnable temperature."""

import torch
from torch import Tensor

from fashret.losses.base import no_pairs
from fashret.losses.temperature import TemperatureLoss
from fashret.types import Relations


class InfoNCE(TemperatureLoss):
    """Classifies each photo's caption, and each caption's photo, among those of the batch.

    Over a row i with positives P(i) and negatives N(i), and the logits s = similarity /
    temperature:

        - mean over p in P(i) of  log( exp(s_ip) / (exp(s_ip) + sum over n in N(i) exp(s_in)) )

    averaged over the rows that have both, and over the two directions (van den Oord et al.,
    Representation Learning with Contrastive Predictive Coding, 2018; the symmetric form is
    CLIP's, Radford et al., 2021). Pairs in neither mask are not in the denominator: other
    photos of the product and equal captions are not pushed apart. Where positives have grades,
    each pair is weighted by its own, and rows by the mean of theirs (generalised contrastive
    learning, Zhu et al., 2024).

    Use it with large batches of captioned photos. With small batches, or over several machines,
    `siglip` does not need the whole batch in one softmax.

    Args:
        temperature: initial temperature, which divides similarities; above 0.
        learn_temperature: whether the temperature is trained.
        max_scale: largest value of 1 / temperature (CLIP's 100 keeps training stable).
    """

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        logits = rows @ columns.T * self.scale()
        # The lowest finite number, not -inf: a row without negatives would have a NaN gradient.
        lowest = torch.finfo(logits.dtype).min
        negatives = torch.where(relations.negative, logits, lowest)
        row, column = relations.positive.nonzero(as_tuple=True)
        positives = logits[row, column]
        weights = None if relations.weight is None else relations.weight[row, column]
        directions = [
            _one_direction(positives, index, negatives.logsumexp(dim=dim), lowest / 2, weights)
            for index, dim in ((row, 1), (column, 0))
        ]
        valid = [loss for loss in directions if loss is not None]
        return torch.stack(valid).mean() if valid else no_pairs(rows, columns, self.log_scale)


def _one_direction(
    positives: Tensor,
    row_idx: Tensor,
    negatives: Tensor,
    threshold: float,
    weights: Tensor | None,
) -> Tensor | None:
    """Average the loss over the rows with a positive and a negative; None if there is no such row.

    Args:
        positives: (P,) logits of the positive pairs.
        row_idx: (P,) long row of each positive pair.
        negatives: (B,) logsumexp of each row's negatives.
        threshold: a row has a negative if its logsumexp is above this value.
        weights: (P,) grade of each positive pair; None if all weigh the same.
    """
    has_negative = negatives > threshold
    num_positive = torch.bincount(row_idx, minlength=len(negatives))
    num_rows = (has_negative & (num_positive > 0)).sum()
    if not bool(num_rows):
        return None
    per_pair = torch.nn.functional.softplus(negatives[row_idx] - positives)
    share = has_negative[row_idx] / num_positive[row_idx]
    if weights is None:
        return (per_pair * share).sum() / num_rows
    share = share * weights
    return (per_pair * share).sum() / share.sum()
