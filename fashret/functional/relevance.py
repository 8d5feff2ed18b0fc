"""What is a right answer, and how right: by equal codes, by a list, or by how much of it fits.

A gain of 1 is a right answer, one between 0 and 1 a part of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fashret.types import UNKNOWN

_AT_A_TIME = 2**24


class Relevance(Protocol):
    """How right each document is for each query."""

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """(q,) positions of queries and (q, k) rows of documents -> (q, k) float64, 0 to 1."""
        ...

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """(Q,) how many right answers there are, and (Q, k) the largest gains, falling."""
        ...

    def subset(self, queries: Tensor) -> "Relevance":
        """The same for some queries, (q,) long, ascending."""
        ...


@dataclass(frozen=True)
class Equal:
    """Right is what has the query's code; UNKNOWN equals nothing.

    Attributes:
        of_query: (Q,) long.
        of_document: (N,) long.
    """

    of_query: Tensor
    of_document: Tensor

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """1 where the codes are equal."""
        code = self.of_query[queries][:, None]
        return ((self.of_document[rows.clamp(min=0)] == code) & (code != UNKNOWN)).double()

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """As many ones as there are documents of the code."""
        size = 1 + max(_top(self.of_query), _top(self.of_document))
        known = self.of_document[self.of_document != UNKNOWN]
        counts = torch.bincount(known, minlength=size)[self.of_query.clamp(min=0)]
        counts = torch.where(self.of_query == UNKNOWN, 0, counts)
        return counts, (torch.arange(k) < counts[:, None]).double()

    def subset(self, queries: Tensor) -> "Equal":
        """The same for some queries."""
        return Equal(self.of_query[queries], self.of_document)


@dataclass(frozen=True)
class Listed:
    """Right is what a list says: query, document and gain, each (P,), in any order.

    Attributes:
        query: positions of queries, 0 to Q - 1.
        document: rows of documents, 0 to N - 1.
        gain: float64.
        num_queries: Q.
        num_documents: N.
    """

    query: Tensor
    document: Tensor
    gain: Tensor
    num_queries: int
    num_documents: int

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """What the list says, 0 for what it does not name."""
        key, order = (self.query * self.num_documents + self.document).sort()
        if not len(key):
            return torch.zeros(rows.shape, dtype=torch.float64)
        asked = queries[:, None] * self.num_documents + rows.clamp(min=0)
        place = torch.searchsorted(key, asked).clamp(max=len(key) - 1)
        return torch.where(key[place] == asked, self.gain[order][place], 0.0)

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Each query's largest gains."""
        right = torch.bincount(self.query[self.gain >= 1.0], minlength=self.num_queries)
        best = torch.zeros(self.num_queries, k, dtype=torch.float64)
        by_gain = self.gain.sort(descending=True, stable=True).indices
        order = by_gain[self.query[by_gain].sort(stable=True).indices]
        query = self.query[order]
        sizes = torch.bincount(query, minlength=self.num_queries)
        place = torch.arange(len(query)) - (sizes.cumsum(0) - sizes)[query]
        first = place < k
        best[query[first], place[first]] = self.gain[order][first]
        return right, best

    def subset(self, queries: Tensor) -> "Listed":
        """The same for some queries."""
        kept = torch.isin(self.query, queries)
        position = torch.searchsorted(queries, self.query[kept])
        return Listed(
            position, self.document[kept], self.gain[kept], len(queries), self.num_documents
        )


@dataclass(frozen=True)
class PartialMatch:
    """Right is what has every value that is asked for; some of them are a part of it.

    An item of another kind gains nothing; of the kind, the share of what is asked that it has.

    Attributes:
        asked: (Q, A) codes, UNKNOWN where a query does not ask; the first column is the kind.
        stated: (N, A) codes, UNKNOWN where a document does not say.
    """

    asked: Tensor
    stated: Tensor

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """The share of the asked values that fit."""
        return self._of(self.asked[queries][:, None], self.stated[rows.clamp(min=0)])

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Over all documents, some queries at a time."""
        right, best = [], []
        step = max(1, _AT_A_TIME // max(1, self.stated.numel()))
        for start in range(0, len(self.asked), step):
            gains = self._of(self.asked[start : start + step, None], self.stated[None])
            right.append((gains >= 1.0).sum(dim=1))
            top = gains.topk(min(k, gains.shape[1]), dim=1).values
            best.append(torch.nn.functional.pad(top, (0, k - top.shape[1])))
        return torch.cat(right), torch.cat(best)

    def subset(self, queries: Tensor) -> "PartialMatch":
        """The same for some queries."""
        return PartialMatch(self.asked[queries], self.stated)

    @staticmethod
    def _of(asked: Tensor, stated: Tensor) -> Tensor:
        fits = (asked == stated) & (asked != UNKNOWN)
        share = fits.sum(dim=-1).double() / (asked != UNKNOWN).sum(dim=-1)
        return torch.where(fits[..., 0], share, 0.0)


def all_rows(relevance: Relevance, num_documents: int) -> Callable[[Tensor], Tensor]:
    """Which of all documents are right for some queries: (q,) -> (q, N) bool."""
    rows = torch.arange(num_documents)

    def right(queries: Tensor) -> Tensor:
        return relevance.gains(queries, rows.expand(len(queries), -1)) >= 1.0

    return right


def _top(codes: Tensor) -> int:
    return max(0, int(codes.max())) if len(codes) else 0
