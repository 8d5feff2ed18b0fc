"""Relations of queries and items by judgments: search logs and composed queries."""

import torch
from torch import Tensor

from fashret.types import UNKNOWN, JudgedQueries, Relations


class JudgedPairs:
    """The judgments of queries, to look up in batches.

    Args:
        queries: the queries, with at least one judgment.

    Attributes:
        query: (P,) long query of each judgment, ascending.
        row: (P,) long row of the judged item.
        grade: (P,) float grade, at least 0.
    """

    def __init__(self, queries: JudgedQueries) -> None:
        self._width = int(queries.row.max()) + 1
        self._num_queries = int(queries.query.max()) + 1
        self._key, order = (queries.query * self._width + queries.row).sort()
        self.query, self.row = queries.query[order], queries.row[order]
        self.grade = queries.grade[order].float()

    def to(self, device: torch.device) -> "JudgedPairs":
        """Move the judgments to a device, and return them."""
        if self._key.device != device:
            self._key, self.query = self._key.to(device), self.query.to(device)
            self.row, self.grade = self.row.to(device), self.grade.to(device)
        return self

    def grades(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Look up the grades of all pairs of some queries and items.

        Args:
            queries: (B,) long queries.
            rows: (M,) long rows of items.

        Returns:
            (B, M) float; -1 where a pair is not judged.
        """
        return self.grades_of(queries, rows.expand(len(queries), -1))

    def grades_of(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Look up the grades of some items of each query.

        Args:
            queries: (B,) long queries.
            rows: (B, M) long rows of the items of each query.

        Returns:
            (B, M) float; -1 where a pair is not judged.
        """
        wanted = queries[:, None] * self._width + rows.clamp(max=self._width - 1)
        at = torch.searchsorted(self._key, wanted).clamp(max=len(self._key) - 1)
        judged = (self._key[at] == wanted) & (rows < self._width)
        return torch.where(judged, self.grade[at], -1.0)

    def share_an_item(self, queries: Tensor, others: Tensor) -> Tensor:
        """Find the pairs of queries that have a relevant item in common.

        Args:
            queries: (B,) long queries.
            others: (M,) long queries, UNKNOWN for none, which shares nothing.

        Returns:
            (B, M) bool.
        """
        distinct, inverse = torch.cat([queries, others.clamp(min=0)]).unique(return_inverse=True)
        position = torch.full((self._num_queries,), UNKNOWN, device=queries.device)
        position[distinct] = torch.arange(len(distinct), device=queries.device)
        kept = (position[self.query] != UNKNOWN) & (self.grade > 0)
        items, item = self.row[kept].unique(return_inverse=True)
        has = torch.zeros(len(distinct), len(items), device=queries.device)
        has[position[self.query[kept]], item] = 1.0
        shares = has @ has.T > 0
        of_rows, of_columns = inverse[: len(queries)], inverse[len(queries) :]
        return shares[of_rows[:, None], of_columns[None, :]] & (others != UNKNOWN)


def judged_relations(
    pairs: JudgedPairs, queries: Tensor, rows: Tensor, asked: Tensor | None
) -> Relations:
    """Relate queries to items by judgments.

    An item of a grade above 0 is a positive, weighted by the grade. One of grade 0 is a negative,
    and so is one that was not judged for the query; but with `asked` it is neither if the query
    that it is an answer of has a relevant item in common with this one.

    Args:
        pairs: the judgments.
        queries: (Q,) long queries.
        rows: (M,) long rows of items.
        asked: (M,) long query that each item is an answer of, UNKNOWN for none; None takes every
            item that was not judged for a negative.

    Returns:
        (Q, M) masks, and the grades of the positives.
    """
    grade = pairs.grades(queries, rows)
    positive = grade > 0
    negative = ~positive
    if asked is not None:
        negative &= ~pairs.share_an_item(queries, asked) | (grade == 0)
    return Relations(positive, negative, weight=torch.where(positive, grade, 0.0))
