"""Multi-similarity loss: pairs are weighted by their hardness."""

from torch import Tensor, nn

from fashret.losses.symmetric import in_both_directions, masked_logsumexp
from fashret.types import Relations


class MultiSimilarity(nn.Module):
    """Pulls distant positives and pushes close negatives, harder pairs more.

    For a row with positives P, negatives N and similarities s:

        log(1 + sum over P exp(-alpha (s - base))) / alpha
        + log(1 + sum over N exp(beta (s - base))) / beta

    averaged over rows and over both directions (Wang et al., Multi-Similarity Loss with General
    Pair Weighting for Deep Metric Learning, 2019, equation 12).

    Use it where hard pairs matter and no temperature should be learned.

    Args:
        alpha: sharpness of the positives' weights, above 0.
        beta: sharpness of the negatives' weights, above 0.
        base: cosine similarity that separates positives from negatives, -1 to 1; cross-modal
            similarities are low, so use less than the paper's 0.5 for photos and texts.
    """

    several_positives = True

    def __init__(self, *, alpha: float = 2.0, beta: float = 40.0, base: float = 0.3) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        above = similarity - self.base
        pull = nn.functional.softplus(masked_logsumexp(-self.alpha * above, positive))
        push = nn.functional.softplus(masked_logsumexp(self.beta * above, negative))
        return pull / self.alpha + push / self.beta
