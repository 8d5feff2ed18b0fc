"""Supervised contrastive loss: several positives a row."""

import math

import torch
from torch import Tensor, nn

from fashret.losses.directions import in_both_directions, masked_logsumexp
from fashret.types import Relations


class SupCon(nn.Module):
    """InfoNCE in which a row's positives share the denominator with each other.

    For a row i with positives P, negatives N and logits s = similarity / temperature:

        - mean over p in P of  log( exp(s_ip) / sum over P and N exp(s_ij) )

    averaged over rows and over both directions (Khosla et al., Supervised Contrastive Learning,
    2020, L_out). Photos of one product are one another's positives.

    Use it where products have several photos, and all of them should lie together.

    Args:
        temperature: what similarities are divided by at the start; above 0.
        learn_temperature: whether it is trained.
        max_scale: the largest 1 / temperature.
    """

    several_positives = True

    def __init__(
        self, *, temperature: float = 0.07, learn_temperature: bool = True, max_scale: float = 100.0
    ) -> None:
        super().__init__()
        self.max_scale = max_scale
        self.log_scale = nn.Parameter(
            torch.tensor(-math.log(temperature)), requires_grad=learn_temperature
        )

    @property
    def temperature(self) -> Tensor:
        """What similarities are divided by now."""
        return 1.0 / self._scale()

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """The loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        logits = similarity * self._scale()
        whole = masked_logsumexp(logits, positive | negative)
        own = (logits * positive).sum(dim=1) / positive.sum(dim=1)
        return whole - own

    def _scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=self.max_scale)
