"""The pairwise sigmoid loss of SigLIP."""

import math

import torch
from torch import Tensor, nn

from fashret.losses.base import no_pairs
from fashret.losses.temperature import check_scale, clamp_log_scale
from fashret.types import Relations


class SigLIP(nn.Module):
    """Judges every pair on its own: right pairs towards yes, wrong pairs towards no.

    With logits s = scale * similarity + bias:

        - 1/V * sum over valid pairs of  log sigmoid( s if positive else -s )

    with V the number of rows that have a valid pair (B in a batch without ignored rows, as in the
    paper), so that rows without a caption do not shrink the loss of the others
    (Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023). The negative bias begins
    near the share of positives in a batch, so that the first steps are not spent on learning
    that most pairs are wrong. Pairs in neither mask do not count.

    It needs no softmax over the batch and does well with small ones; with one positive a row and
    a large batch, `infonce` usually learns faster.

    Args:
        scale: what similarities are multiplied by at the start; above 0.
        bias: what is added to the logits at the start.
        max_scale: the largest scale.
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
        """What similarities are divided by now, a scalar."""
        return 1.0 / self.scale()

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """The loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        valid = relations.positive | relations.negative
        if not bool(valid.any()):
            return no_pairs(rows, columns, self.log_scale, self.bias)
        logits = rows @ columns.T * self.scale() + self.bias
        signed = torch.where(relations.positive, logits, -logits)
        return -(torch.nn.functional.logsigmoid(signed) * valid).sum() / valid.any(dim=1).sum()

    def scale(self) -> Tensor:
        """What similarities are multiplied by now, a scalar."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Bring the scale back within its bound; called after each optimizer step."""
        clamp_log_scale(self.log_scale, self.max_scale)
