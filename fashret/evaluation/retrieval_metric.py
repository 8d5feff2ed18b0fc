"""The base class of the retrieval metrics: ranks scores and counts each query once."""

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchmetrics import Metric

from fashret.errors import ConfigError, DataError

_NO_ID = torch.iinfo(torch.int64).min
"""The stored id of a query that was given without one: it equals no other query."""


class RetrievalMetric(Metric):
    """The mean over queries of a metric of the first k of each ranking.

    The states are small: a few numbers for each query, whatever the size of the gallery. They are
    integers and booleans, so that they are exact on every device and under every precision of a
    trainer; the formulas are computed on the CPU in float64 and `compute` returns float32.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    query_ids: list[Tensor]

    def __init__(
        self,
        k: int = 10,
        *,
        without_relevant: Literal["skip", "zero"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigError(f"{type(self).__name__}: k={k!r} must be an integer of at least 1")
        if without_relevant not in ("skip", "zero"):
            raise ConfigError(
                f"{type(self).__name__}: without_relevant={without_relevant!r} must be 'skip' "
                "(leave out a query without a relevant item) or 'zero' (count it as 0)"
            )
        self.k = k
        self.without_relevant = without_relevant
        self._empty: dict[str, Tensor] = {}
        self._add_column("query_ids", torch.empty(0, dtype=torch.long))

    def _add_column(self, name: str, empty: Tensor) -> None:
        """Add a state with one row per query; `empty` has its dtype and no rows."""
        self.add_state(name, [], dist_reduce_fx="cat")
        self._empty[name] = empty

    def update(self, scores: Tensor, target: Tensor, query_ids: Tensor | None = None) -> None:
        """Rank the gallery for a batch of queries and store the grades of the first k items.

        Args:
            scores: (B, N) float, the scores of N gallery items for B queries, larger is better.
                They may be negative, and N may be smaller than k. Equal scores are ranked by the
                smaller column. An item with the score -inf is excluded from this query's ranking,
                and is no relevant item of it either: use it for the query's own item, or to pad
                galleries of different sizes.
            target: (B, N) integer or bool, 1 relevant, 0 not relevant, -1 unknown. An unknown item
                is ranked like any other, is never a hit, and does not count as relevant. Larger
                integers are grades: RetrievalNDCG uses them, all others count them as relevant.
            query_ids: (B,) integer, the identity of each query over all batches and processes, by
                which a query that is seen twice counts once: a distributed sampler repeats some
                queries so that all processes have equally many. None means that every row is
                another query.

        Raises:
            DataError: shapes or dtypes do not fit, a score is NaN or +inf, or a target is below -1.
        """
        _check(scores, target)
        grades = target.long().clamp(0, 2**31 - 1).int().masked_fill(scores.isneginf(), 0)
        first = grades.gather(1, _top_columns(scores, self.k))
        ids = _identities(query_ids, scores)
        self._store(first_columns(first, self.k), grades)
        self.query_ids.append(ids)

    def update_ranked(
        self, hits: Tensor, num_relevant: Tensor, query_ids: Tensor | None = None
    ) -> None:
        """Store rankings from elsewhere, such as of a gallery too large for a matrix of scores.

        In a MetricCollection call it on each metric: `for m in metrics.values(): ...`.

        Args:
            hits: (B, K) bool, whether each of the first K ranked items is relevant, best first.
                K must be at least k; if the gallery has fewer items, pad with False.
            num_relevant: (B,) integer, how many relevant items the whole ranking has.
            query_ids: (B,) integer, as for `update`.

        Raises:
            DataError: shapes or dtypes do not fit, or a query has more hits than relevant items.
        """
        # torchmetrics wraps `update` alone, to count updates and to drop the cached result.
        self._wrap_update(self._update_ranked)(hits, num_relevant, query_ids)

    def _update_ranked(self, hits: Tensor, num_relevant: Tensor, query_ids: Tensor | None) -> None:
        if hits.dtype != torch.bool or hits.ndim != 2 or hits.shape[1] < self.k:
            raise DataError(
                f"hits must be (B, K) bool with K of at least k = {self.k}, not "
                f"{_described(hits)}; if the gallery has fewer items, pad with False"
            )
        if not _is_integer(num_relevant) or num_relevant.shape != hits.shape[:1]:
            raise DataError(
                f"num_relevant must be ({len(hits)},) integer, not {_described(num_relevant)}"
            )
        more = (hits.sum(dim=1) > num_relevant).nonzero()[:, 0]
        if len(more):
            i = int(more[0])
            raise DataError(
                f"row {i} has {int(hits[i].sum())} hits but num_relevant is {int(num_relevant[i])}"
            )
        ids = _identities(query_ids, hits)
        # Copies: a slice would keep all K columns in memory, and the caller may reuse its tensors.
        self._store_ranked(hits[:, : self.k].clone(), num_relevant.to(torch.long, copy=True))
        self.query_ids.append(ids)

    def compute(self) -> Tensor:
        """Return the mean over the queries, a float32 scalar; NaN if no query counts.

        Raises:
            DataError: one query id came with different numbers of relevant items, so that it does
                not identify a query.
        """
        columns = {name: self._gathered(name) for name in self._empty}
        once = _first_of_each(columns.pop("query_ids"), self._relevant(columns))
        columns = {name: column[once] for name, column in columns.items()}
        values = self._per_query(columns)
        counted = self._relevant(columns) > 0
        values = values[counted] if self.without_relevant == "skip" else values.where(counted, 0.0)
        return values.mean().to(self.device, torch.float32)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes; see `torchmetrics.Metric.sync`.

        torchmetrics sends an empty 1-D float tensor for a process that saw no query, which fits
        neither the dtype nor the shape of what the other processes send.
        """
        for name, empty in self._empty.items():
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)

    def _gathered(self, name: str) -> Tensor:
        """A state over all batches (after a sync, of all processes), on the CPU."""
        state = getattr(self, name)
        parts = [state] if isinstance(state, Tensor) else state
        empty = self._empty[name]
        return torch.cat([empty, *(part.to(empty) for part in parts)])

    @abstractmethod
    def _store(self, first: Tensor, grades: Tensor) -> None:
        """Append a batch: the (B, k) grades of the first k and the (B, N) grades of all items."""

    @abstractmethod
    def _store_ranked(self, hits: Tensor, num_relevant: Tensor) -> None:
        """Append a batch: (B, k) hits, and how many relevant items there are."""

    @abstractmethod
    def _relevant(self, columns: dict[str, Tensor]) -> Tensor:
        """(Q,) a number above 0 if the query has a relevant item; equal for repeated queries."""

    @abstractmethod
    def _per_query(self, columns: dict[str, Tensor]) -> Tensor:
        """(Q,) float64, the value of each query; anything where no item is relevant."""


def _top_columns(scores: Tensor, k: int) -> Tensor:
    """(B, min(k, N)) long: the columns of the largest scores, best first, ties by the smaller one.

    `topk` breaks ties in no defined order, and a stable sort of all N is several times slower for
    large catalogs, so that only the k-th largest score is taken from `topk`.
    """
    k = min(k, scores.shape[1])
    last = scores.topk(k, dim=1).values[:, -1:]
    above, level = scores > last, scores == last
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (level & (level.cumsum(dim=1) <= room))  # exactly k in each row
    columns = chosen.nonzero()[:, 1].view(len(scores), k)  # ascending in each row
    best = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, best.indices)


def first_columns(table: Tensor, k: int) -> Tensor:
    """Return a table cut or padded with zeros to exactly k columns."""
    return pad(table[:, :k], (0, max(0, k - table.shape[1])))


def _first_of_each(query_ids: Tensor, relevant: Tensor) -> Tensor:
    """The positions of the queries, by ascending id, each query once.

    Raises:
        DataError: rows with one id have different relevant items.
    """
    order = query_ids.argsort(stable=True)
    ids, relevant = query_ids[order], relevant[order]
    repeated = torch.zeros_like(ids, dtype=torch.bool)
    repeated[1:] = (ids[1:] == ids[:-1]) & (ids[1:] != _NO_ID)
    unlike = repeated[1:] & (relevant[1:] != relevant[:-1])
    if bool(unlike.any()):
        at = int(unlike.nonzero()[0, 0])
        raise DataError(
            f"query id {int(ids[at])} was given with different relevant items. A query id must "
            "identify one query over all batches and processes, such as its row in the data set, "
            "not its position in a batch, and every query must search the same gallery"
        )
    return order[~repeated]


def _identities(query_ids: Tensor | None, rows: Tensor) -> Tensor:
    """(B,) long: the stored ids of a batch."""
    if query_ids is None:
        return torch.full((len(rows),), _NO_ID, device=rows.device)
    if not _is_integer(query_ids) or query_ids.shape != rows.shape[:1]:
        raise DataError(f"query_ids must be ({len(rows)},) integer, not {_described(query_ids)}")
    return query_ids.to(rows.device, torch.long, copy=True)


def _check(scores: Tensor, target: Tensor) -> None:
    """Raise DataError if scores cannot be ranked or the target does not fit them."""
    if scores.ndim != 2 or not scores.is_floating_point():
        raise DataError(f"scores must be (B, N) float, not {_described(scores)}")
    if target.shape != scores.shape or not (_is_integer(target) or target.dtype == torch.bool):
        raise DataError(
            f"target must be {tuple(scores.shape)} integer or bool like scores, not "
            f"{_described(target)}"
        )
    bad = scores.isnan() | scores.isposinf()
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise DataError(
            f"scores contain NaN or +Inf: {int(bad.sum())} of {bad.numel()}, the first in row "
            f"{row}, column {column}; no ranking of them means anything (-Inf excludes an item)"
        )
    if target.dtype not in (torch.bool, torch.uint8) and bool((target < -1).any()):
        raise DataError(
            f"target contains {int(target.min())}: allowed are -1 (unknown), 0 (not relevant), "
            "1 (relevant) and larger grades"
        )


def _is_integer(tensor: Tensor) -> bool:
    """Whether the dtype is an integer's; bool is not."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _described(tensor: Tensor) -> str:
    """Shape and dtype for a message: `(3, 4) float32`."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
