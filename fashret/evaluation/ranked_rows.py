"""Collect the ranking of every query over batches and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class RankedRows(Metric):
    """A torchmetrics metric that collects the ranking of every query.

    The state is a table with one row per query. It starts at -1 and is reduced by the maximum over
    processes, which is exact when a query is seen twice, when a process sees no query, and for any
    number of processes (a sum would count a repeated query twice).

    `fashret.evaluation.metrics` has metrics that are computed from scores and targets; this class
    keeps the rankings themselves, from which the evaluation computes everything that it reports.

    Args:
        num_queries: Q, the number of queries of all processes.
        k: K, the length of a ranking.

    Example:
        >>> import torch
        >>> metric = RankedRows(num_queries=2, k=2)
        >>> scores = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
        >>> metric.update(torch.tensor([1]), torch.tensor([[5, 3]]), scores)
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
        """Store the rankings of some queries.

        Args:
            queries: (n,) long, the positions of the queries, 0 to Q - 1.
            rows: (n, K) long, gallery positions, best first, -1 after the last one.
            scores: (n, K) float64, the scores of these positions, -inf after the last one.
        """
        self.rows[queries] = rows
        self.scores[queries] = scores

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the (Q, K) rows and the (Q, K) scores of all processes."""
        return self.rows, self.scores
