"""Supervised contrastive loss: several positives per row."""

from torch import Tensor

from fashret.losses.symmetric import in_both_directions, masked_logsumexp
from fashret.losses.temperature import TemperatureLoss
from fashret.types import Relations


class SupCon(TemperatureLoss):
    """Contrastive loss with several positives per row, all of them in the denominator.

    For a row i with positives P, negatives N and logits s = similarity / temperature:

        - mean over p in P of  log( exp(s_ip) / sum over P and N exp(s_ij) )

    averaged over rows and over both directions (Khosla et al., Supervised Contrastive Learning,
    2020, L_out).

    Use it where products have several photos: task=product compares these with one another,
    task=caption takes the captions of a product's other photos as further positives.

    Args:
        temperature: initial temperature, which divides similarities; above 0.
        learn_temperature: whether the temperature is trained.
        max_scale: largest value of 1 / temperature.
    """

    several_positives = True

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations, self.log_scale)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        logits = similarity * self.scale()
        denominator = masked_logsumexp(logits, positive | negative)
        mean_positive = (logits * positive).sum(dim=1) / positive.sum(dim=1)
        return denominator - mean_positive
