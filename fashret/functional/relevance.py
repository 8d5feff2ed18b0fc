"""Relevance judgements: by equal codes, by a list, or by the share of requested values that match.

A gain of 1 is a relevant document, one between 0 and 1 a partly relevant one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from fashret.types import UNKNOWN

_COMPARISONS_PER_CHUNK = 2**24
"""Values that are compared at a time."""


class Relevance(Protocol):
    """The gain of each document for each query."""

    @property
    def least_gain(self) -> float:
        """The gain from which a document counts as relevant, above 0 and at most 1."""
        ...

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Look up the gains of some documents.

        Args:
            queries: (q,) long positions of queries.
            rows: (q, k) long rows of documents.

        Returns:
            (q, k) float64, 0 to 1.
        """
        ...

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Count the relevant documents of each query, (Q,) long, and find the k largest gains.

        The gains are (Q, k) float64, descending.
        """
        ...

    def subset(self, queries: Tensor) -> "Relevance":
        """Keep only some queries: (q,) long positions, ascending."""
        ...


@dataclass(frozen=True)
class CodeRelevance:
    """A document is relevant if it has the query's code; UNKNOWN equals nothing.

    Attributes:
        query_codes: (Q,) long code of each query.
        document_codes: (N,) long code of each document.
    """

    query_codes: Tensor
    document_codes: Tensor
    least_gain: ClassVar[float] = 1.0

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Return 1 where the codes are equal, else 0; see `Relevance.gains`."""
        code = self.query_codes[queries][:, None]
        return ((self.document_codes[rows.clamp(min=0)] == code) & (code != UNKNOWN)).double()

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Count the documents of each query's code; see `Relevance.ideal`."""
        size = 1 + max(_largest(self.query_codes), _largest(self.document_codes))
        known = self.document_codes[self.document_codes != UNKNOWN]
        counts = torch.bincount(known, minlength=size)[self.query_codes.clamp(min=0)]
        counts = torch.where(self.query_codes == UNKNOWN, 0, counts)
        return counts, (torch.arange(k) < counts[:, None]).double()

    def subset(self, queries: Tensor) -> "CodeRelevance":
        """Keep only some queries; see `Relevance.subset`."""
        return CodeRelevance(self.query_codes[queries], self.document_codes)


@dataclass(frozen=True)
class ListedRelevance:
    """Relevance judgements as P triples of query, document and gain, in any order.

    Attributes:
        query: (P,) long positions of queries, 0 to Q - 1.
        document: (P,) long rows of documents, 0 to N - 1.
        gain: (P,) float64 gains, 0 to 1.
        num_queries: number Q of queries.
        num_documents: number N of documents.
        least_gain: the gain from which a document counts as relevant; nDCG counts all gains.
    """

    query: Tensor
    document: Tensor
    gain: Tensor
    num_queries: int
    num_documents: int
    least_gain: float = 1.0

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Look up gains in the list, 0 for pairs that are not in it; see `Relevance.gains`."""
        key, order = (self.query * self.num_documents + self.document).sort()
        if not len(key):
            return torch.zeros(rows.shape, dtype=torch.float64)
        wanted = queries[:, None] * self.num_documents + rows.clamp(min=0)
        position = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
        return torch.where(key[position] == wanted, self.gain[order][position], 0.0)

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Find each query's largest gains; see `Relevance.ideal`."""
        relevant = self.query[self.gain >= self.least_gain]
        num_relevant = torch.bincount(relevant, minlength=self.num_queries)
        best = torch.zeros(self.num_queries, k, dtype=torch.float64)
        by_gain = self.gain.sort(descending=True, stable=True).indices
        order = by_gain[self.query[by_gain].sort(stable=True).indices]
        query = self.query[order]
        sizes = torch.bincount(query, minlength=self.num_queries)
        column = torch.arange(len(query)) - (sizes.cumsum(0) - sizes)[query]
        first = column < k
        best[query[first], column[first]] = self.gain[order][first]
        return num_relevant, best

    def subset(self, queries: Tensor) -> "ListedRelevance":
        """Keep only some queries; see `Relevance.subset`."""
        kept = torch.isin(self.query, queries)
        position = torch.searchsorted(queries, self.query[kept])
        return ListedRelevance(
            position,
            self.document[kept],
            self.gain[kept],
            len(queries),
            self.num_documents,
            self.least_gain,
        )


@dataclass(frozen=True)
class PartialMatch:
    """The gain of a document is the share of the query's requested values that it has.

    A document of another category than the query's has the gain 0.

    Attributes:
        requested: (Q, A) long codes of the values that each query requests, UNKNOWN for none; the
            first column is the category.
        document_values: (N, A) long codes of each document's values, UNKNOWN where not known.
    """

    requested: Tensor
    document_values: Tensor
    least_gain: ClassVar[float] = 1.0

    def gains(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Compute the share of the requested values that match; see `Relevance.gains`."""
        requested = self.requested[queries][:, None]
        return self._gains(requested, self.document_values[rows.clamp(min=0)])

    def ideal(self, k: int) -> tuple[Tensor, Tensor]:
        """Compare with all documents, some queries at a time; see `Relevance.ideal`."""
        num_relevant, best = [], []
        step = max(1, _COMPARISONS_PER_CHUNK // max(1, self.document_values.numel()))
        for start in range(0, len(self.requested), step):
            requested = self.requested[start : start + step, None]
            gains = self._gains(requested, self.document_values[None])
            num_relevant.append((gains >= 1.0).sum(dim=1))
            top = gains.topk(min(k, gains.shape[1]), dim=1).values
            best.append(torch.nn.functional.pad(top, (0, k - top.shape[1])))
        return torch.cat(num_relevant), torch.cat(best)

    def subset(self, queries: Tensor) -> "PartialMatch":
        """Keep only some queries; see `Relevance.subset`."""
        return PartialMatch(self.requested[queries], self.document_values)

    @staticmethod
    def _gains(requested: Tensor, values: Tensor) -> Tensor:
        matches = (requested == values) & (requested != UNKNOWN)
        share = matches.sum(dim=-1).double() / (requested != UNKNOWN).sum(dim=-1)
        return torch.where(matches[..., 0], share, 0.0)


def all_rows(relevance: Relevance, num_documents: int) -> Callable[[Tensor], Tensor]:
    """Make a function that marks the relevant ones of all documents: (q,) -> (q, N) bool."""
    rows = torch.arange(num_documents)

    def is_relevant(queries: Tensor) -> Tensor:
        return relevance.gains(queries, rows.expand(len(queries), -1)) >= relevance.least_gain

    return is_relevant


def _largest(codes: Tensor) -> int:
    return max(0, int(codes.max())) if len(codes) else 0
