"""Exact top-k search that streams over a catalog in bounded memory."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fashret.errors import DataError
from fashret.functional.precision import full_precision
from fashret.functional.similarity import Vectors

MARGIN = 32
"""How many candidates beyond k the fast pass keeps, for float64 to order anew."""

_CHECKED = 16384
"""Catalog rows that are checked at a time when single rows were ranked."""


class Ranking(NamedTuple):
    """The first k of a catalog for each query, best first.

    Attributes:
        rows: (Q, k) long: catalog rows, -1 behind the last one that could be ranked.
        scores: (Q, k) float64, -inf there.
    """

    rows: Tensor
    scores: Tensor


class Excluded(NamedTuple):
    """Catalog rows that single queries must not find.

    Attributes:
        queries: (E,) long: positions of queries, ascending.
        rows: (E,) long: the catalog row taken out of that query's ranking.
    """

    queries: Tensor
    rows: Tensor

    def of(self, start: int, stop: int) -> "Excluded":
        """The part of the queries from `start` to `stop`, counted from `start`."""
        bounds = torch.searchsorted(self.queries, torch.tensor([start, stop]).to(self.queries))
        part = slice(int(bounds[0]), int(bounds[1]))
        return Excluded(self.queries[part] - start, self.rows[part])


def topk(
    queries: Vectors,
    catalog: Vectors,
    k: int,
    *,
    exclude: Excluded | None = None,
    query_chunk: int = 1024,
    catalog_chunk: int = 16384,
) -> Ranking:
    """The k catalog rows with the largest inner product for each query.

    A fast pass in float32 finds candidates; those that rounding could have misplaced are scored
    again in float64, and the order is by that score, ties by the smaller row. So the result
    depends neither on the chunk sizes nor on how queries are shared out over processes. Memory
    is a chunk of queries times a chunk of the catalog, never queries x catalog.

    The float32 products are computed in full precision, whatever
    `torch.set_float32_matmul_precision`, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE or autocast say: the
    bound on their rounding error holds for full precision alone.

    Args:
        queries: Q rows of D floats.
        catalog: N rows of D floats on the same device; N may be 0.
        k: how many to return, at least 1.
        exclude: rows to leave out of single rankings.
        query_chunk: queries searched at a time.
        catalog_chunk: catalog rows compared at a time.

    Raises:
        DataError: a query or a catalog row contains NaN or Inf, whose scores cannot be ranked.
    """
    parts = []
    with full_precision(queries[:0].device):
        for start in range(0, len(queries), query_chunk):
            stop = min(start + query_chunk, len(queries))
            barred = None if exclude is None else exclude.of(start, stop)
            part = queries[start:stop]
            length = _longest(part, "query", queries, query_chunk)
            parts.append(_topk_block(part, length, catalog, k, barred, catalog_chunk))
    if not parts:
        return Ranking(torch.empty(0, k, dtype=torch.long), torch.empty(0, k, dtype=torch.float64))
    return Ranking(torch.cat([p.rows for p in parts]), torch.cat([p.scores for p in parts]))


def rank_rows(queries: Tensor, catalog: Vectors, rows: Tensor) -> Ranking:
    """Order given catalog rows by their exact score.

    Args:
        queries: (Q, D) float.
        catalog: N rows of D floats.
        rows: (Q, C) long, -1 for no row.

    Returns:
        All C of them, best first.

    Raises:
        DataError: a query or one of the rows contains NaN or Inf.
    """
    ranking = _rank_rows(queries, catalog, rows)
    if bool((~ranking.scores.isfinite() & (ranking.rows >= 0)).any()):
        _refuse(queries, "query", len(queries))
        _refuse(catalog, "catalog row", _CHECKED)
    return ranking


def _rank_rows(queries: Tensor, catalog: Vectors, rows: Tensor) -> Ranking:
    """`rank_rows` of embeddings that are known to be finite."""
    rows = rows.sort(dim=1).values  # ties: the stable sort below keeps the smaller row first
    scores = _exact_scores(queries, catalog, rows)
    order = scores.sort(dim=1, descending=True, stable=True)
    return Ranking(rows.gather(1, order.indices), order.values)


def _topk_block(
    queries: Tensor,
    query_length: float,
    catalog: Vectors,
    k: int,
    exclude: Excluded | None,
    chunk: int,
) -> Ranking:
    """`topk` for the queries of one chunk, the longest of which has the length `query_length`."""
    fast_rows, fast_scores, longest = _fast_pass(queries, catalog, k + MARGIN, exclude, chunk)
    width = fast_scores.shape[1]
    if width == 0:  # an empty catalog
        return first_columns(Ranking(fast_rows, fast_scores.double()), k)

    # A float32 product of D terms is off by at most D half-epsilons of its factors' lengths, and
    # so is the one that it is compared with.
    error = queries.shape[1] * torch.finfo(torch.float32).eps * query_length * longest
    kth = fast_scores[:, min(k, width) - 1]

    ranking = first_columns(_rank_rows(queries, catalog, fast_rows[:, :k]), k)
    if width > k:
        unsure = ((kth - fast_scores[:, k]) <= error).nonzero()[:, 0]
        _replace(ranking, unsure, _rank_rows(queries[unsure], catalog, fast_rows[unsure]), k)
    if width == k + MARGIN:  # more rows than these may be as near: look at the whole catalog
        last = fast_scores[:, -1]
        unsure = ((kth - last <= error) & last.isfinite()).nonzero()[:, 0]
        for i in unsure.tolist():
            exact = _exact_pass(queries[i], catalog, k, exclude, i, chunk)
            _replace(ranking, unsure.new_tensor([i]), exact, k)
    return ranking


def _fast_pass(
    queries: Tensor, catalog: Vectors, width: int, exclude: Excluded | None, chunk: int
) -> tuple[Tensor, Tensor, float]:
    """The best `width` rows by float32 score, their scores, and the catalog's longest row."""
    best_rows = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    best_scores = torch.empty(len(queries), 0, device=queries.device)
    longest = 0.0
    for start in range(0, len(catalog), chunk):
        block = catalog[start : min(start + chunk, len(catalog))]
        longest = max(longest, _longest(block, "catalog row", catalog, chunk))
        scores = queries @ block.T  # (Q, chunk)
        if exclude is not None:
            here = (exclude.rows >= start) & (exclude.rows < start + len(block))
            scores[exclude.queries[here], exclude.rows[here] - start] = -torch.inf
        top = scores.topk(min(width, len(block)), dim=1)
        best_scores = torch.cat([best_scores, top.values], dim=1)
        best_rows = torch.cat([best_rows, top.indices + start], dim=1)
        if best_scores.shape[1] > width:
            keep = best_scores.topk(width, dim=1)
            best_scores, best_rows = keep.values, best_rows.gather(1, keep.indices)
    order = best_scores.sort(dim=1, descending=True)
    rows = best_rows.gather(1, order.indices)
    return rows.masked_fill(order.values.isneginf(), -1), order.values, longest


def _longest(part: Tensor, what: str, whole: Vectors, chunk: int) -> float:
    """The largest length among the rows of a chunk; it is finite only if all of them are.

    Raises:
        DataError: rows of the whole contain NaN or Inf; the first of them are named.
    """
    longest = float(torch.linalg.vector_norm(part, dim=1).max())
    if not math.isfinite(longest):
        _refuse(whole, what, chunk)
    return longest


def _refuse(whole: Vectors, what: str, chunk: int) -> None:
    """Raise DataError if rows contain NaN or Inf, or are longer than float32 can hold."""
    bad: list[int] = []
    for start in range(0, len(whole), chunk):
        lengths = torch.linalg.vector_norm(whole[start : min(start + chunk, len(whole))], dim=1)
        bad += (start + (~lengths.isfinite()).nonzero()[:, 0]).tolist()
    if not bad:
        return
    shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    raise DataError(
        f"embeddings contain NaN or Inf (or overflow float32): {len(bad)} of {len(whole)}, "
        f"{what} {shown}; no ranking of them means anything, so embed these again"
    )


def _exact_pass(
    query: Tensor, catalog: Vectors, k: int, exclude: Excluded | None, position: int, chunk: int
) -> Ranking:
    """The k best rows of one query with every score in float64: for catalogs full of ties."""
    barred = None if exclude is None else exclude.rows[exclude.queries == position]
    kept = torch.empty(1, 0, dtype=torch.long, device=query.device)
    for start in range(0, len(catalog), chunk):
        rows = torch.arange(start, min(start + chunk, len(catalog)), device=query.device)
        if barred is not None:
            rows = rows[~torch.isin(rows, barred)]
        merged = torch.cat([kept, rows[None]], dim=1)
        kept = _rank_rows(query[None], catalog, merged).rows[:, :k]
    return _rank_rows(query[None], catalog, kept)


def _exact_scores(queries: Tensor, catalog: Vectors, rows: Tensor) -> Tensor:
    """(Q, C) float64 inner products; -inf where the row is -1.

    Summed row by row, not by a matrix product: equal rows then get equal scores to the last bit.
    """
    scores = torch.full(rows.shape, -torch.inf, dtype=torch.float64, device=rows.device)
    step = max(1, 2**18 // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        candidates = catalog[part.clamp(min=0).reshape(-1)].double()
        products = candidates.view(*part.shape, queries.shape[1])
        products = products * queries[start : start + step, None].double()
        scores[start : start + step] = products.sum(dim=-1).masked_fill(part < 0, -torch.inf)
    return scores


def first_columns(ranking: Ranking, k: int) -> Ranking:
    """The ranking with exactly k columns, padded with -1 and -inf."""
    missing = max(0, k - ranking.rows.shape[1])
    rows = torch.nn.functional.pad(ranking.rows[:, :k], (0, missing), value=-1)
    scores = torch.nn.functional.pad(ranking.scores[:, :k], (0, missing), value=-torch.inf)
    return Ranking(rows, scores)


def _replace(ranking: Ranking, queries: Tensor, better: Ranking, k: int) -> None:
    """Put the first k of `better` in the place of some queries' rankings."""
    rows, scores = first_columns(better, k)
    ranking.rows[queries] = rows
    ranking.scores[queries] = scores
