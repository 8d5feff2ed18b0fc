"""Circle loss: each similarity is weighted by its distance from its optimum."""

from torch import Tensor, nn

from fashret.losses.symmetric import in_both_directions, masked_logsumexp
from fashret.types import Relations


class Circle(nn.Module):
    """Pulls and pushes each pair in proportion to its distance from the optimal similarity.

    For a row with positives P, negatives N, similarities s, and a margin m:

        log(1 + sum over N exp(scale a_n (s_n - m)) * sum over P exp(-scale a_p (s_p - 1 + m)))
        a_n = max(0, s_n + m),  a_p = max(0, 1 + m - s_p)

    averaged over rows and over both directions (Sun et al., Circle Loss: A Unified Perspective of
    Pair Similarity Optimization, 2020). The weights a carry no gradient.

    Use it for image-to-image search over products with several photos.

    Args:
        margin: margin m of the cosine similarity, 0 to 1.
        scale: factor of similarities, above 0; a larger one concentrates on the hardest pairs.
    """

    several_positives = True

    def __init__(self, *, margin: float = 0.25, scale: float = 32.0) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows and (M, D) columns, both L2-normalised."""
        return in_both_directions(self._per_row, rows, columns, relations)

    def _per_row(self, similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        fixed = similarity.detach()
        away = (fixed + self.margin).clamp(min=0.0)
        near = (1.0 + self.margin - fixed).clamp(min=0.0)
        push = masked_logsumexp(self.scale * away * (similarity - self.margin), negative)
        pull = masked_logsumexp(-self.scale * near * (similarity - 1.0 + self.margin), positive)
        return nn.functional.softplus(push + pull)
