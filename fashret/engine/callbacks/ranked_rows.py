"""What each query found, gathered over batches and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class RankedRows(Metric):
    """Collects the ranking of every query.

    The state is a table with a row a query, begun at -1 and reduced by the maximum: it is exact
    when a query is seen twice, when a process has none, and for any number of processes (sums
    are not).

    Args:
        num_queries: Q.
        k: columns of a ranking.

    Example:
        >>> metric = RankedRows(num_queries=2, k=2)
        >>> metric.update(torch.tensor([1]), torch.tensor([[5, 3]]), torch.tensor([[0.9, 0.1]]))
        >>> metric.compute()[0].tolist()
        [[-1, -1], [5, 3]]
    """

    full_state_update = False
    rows: Tensor
    scores: Tensor

    def __init__(self, *, num_queries: int, k: int) -> None:
        super().__init__()
        rows = torch.full((num_queries, k), -1)
        scores = torch.full((num_queries, k), -torch.inf, dtype=torch.float64)
        self.add_state("rows", rows, dist_reduce_fx="max")
        self.add_state("scores", scores, dist_reduce_fx="max")

    def update(self, queries: Tensor, rows: Tensor, scores: Tensor) -> None:
        """Take in some rankings.

        Args:
            queries: (n,) long: positions of the queries, 0 to Q - 1.
            rows: (n, k) long: catalog rows, best first, -1 for none.
            scores: (n, k) float64.
        """
        self.rows[queries] = rows
        self.scores[queries] = scores

    def compute(self) -> tuple[Tensor, Tensor]:
        """(Q, k) rows and (Q, k) scores of all processes."""
        return self.rows, self.scores
