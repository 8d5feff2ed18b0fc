"""Supervised contrastive loss: several positives a row."""

from torch import Tensor

from fashret.losses.symmetric import in_both_directions, masked_logsumexp
from fashret.losses.temperature import Tempered
from fashret.types import Relations


class SupCon(Tempered):
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

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """The loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations, self.log_scale)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        logits = similarity * self.scale()
        whole = masked_logsumexp(logits, positive | negative)
        own = (logits * positive).sum(dim=1) / positive.sum(dim=1)
        return whole - own
