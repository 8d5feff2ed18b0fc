"""The pairwise sigmoid loss of SigLIP."""

import math

import torch
from torch import Tensor, nn

from fashret.losses.base import no_pairs
from fashret.losses.temperature import check_scale, clamp_log_scale
from fashret.types import Relations


class SigLIP(nn.Module):
    """Classifies every pair independently as positive or negative.

    With logits s = scale * similarity + bias:

        - 1/V * sum over valid pairs of  log sigmoid( s if positive else -s )

    with V the number of rows that have a valid pair (B in a batch without ignored rows, as in the
    paper), so that rows without a caption do not shrink the loss of the others
    (Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023). The negative initial bias
    matches the small share of positives in a batch, so that the first steps are not spent on
    learning that most pairs are negative. Pairs in neither mask do not count. A positive with a
    grade is weighted by it.

    It needs no softmax over the batch and works well with small ones; with one positive per row
    and a large batch, `infonce` usually learns faster.

    Args:
        scale: initial factor of similarities (1 / temperature), above 0.
        bias: initial bias of the logits.
        max_scale: largest value of the scale.
    """

    def __init__(
        self, *, scale: float = 10.0, bias: float = -10.0, max_scale: float = 100.0
    ) -> None:
        super().__init__()
        check_scale("loss.scale", scale, scale, max_scale)
        self.max_scale = max_scale
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    @property
    def temperature(self) -> Tensor:
        """Current temperature, a scalar that divides similarities."""
        return 1.0 / self.scale()

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        valid = relations.positive | relations.negative
        if not bool(valid.any()):
            return no_pairs(rows, columns, self.log_scale, self.bias)
        logits = rows @ columns.T * self.scale() + self.bias
        signed = torch.where(relations.positive, logits, -logits)
        each = torch.nn.functional.logsigmoid(signed) * valid
        if relations.weight is not None:
            each = torch.where(relations.positive, each * relations.weight, each)
        return -each.sum() / valid.any(dim=1).sum()

    def scale(self) -> Tensor:
        """Return the current factor of similarities, a scalar: 1 / temperature."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Clamp the scale to its bound; called after each optimizer step."""
        clamp_log_scale(self.log_scale, self.max_scale)
