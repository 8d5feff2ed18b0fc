"""Exact top-k search that streams over a gallery in bounded memory."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fashret.errors import DataError
from fashret.functional.precision import full_precision, inner_products
from fashret.functional.similarity import Vectors

MARGIN = 32
"""Candidates beyond k that the float32 pass keeps, to be ordered again in float64."""

_CHECKED = 16384
"""Gallery rows that are checked for NaN at a time, once a score of given rows is not finite."""


class Ranking(NamedTuple):
    """The first k rows of a gallery for each query, best first.

    Attributes:
        rows: (Q, k) long gallery rows, padded with -1 where fewer could be ranked.
        scores: (Q, k) float64 inner products, padded with -inf.
    """

    rows: Tensor
    scores: Tensor


class Excluded(NamedTuple):
    """Gallery rows that are left out of single queries' rankings, as E pairs.

    Attributes:
        queries: (E,) long positions of queries, ascending.
        rows: (E,) long gallery row that is left out of that query's ranking.
    """

    queries: Tensor
    rows: Tensor

    def for_queries(self, start: int, stop: int) -> "Excluded":
        """Select the pairs of the queries from `start` to before `stop`, counted from `start`."""
        bounds = torch.searchsorted(self.queries, torch.tensor([start, stop]).to(self.queries))
        part = slice(int(bounds[0]), int(bounds[1]))
        return Excluded(self.queries[part] - start, self.rows[part])


def topk(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    *,
    exclude: Excluded | None = None,
    scored: int | None = None,
    query_chunk: int = 1024,
    gallery_chunk: int = 16384,
) -> Ranking:
    """Find the k gallery rows with the largest inner product for each query.

    A fast pass in float32 finds candidates; those that rounding could have misplaced are scored
    again in float64, and the order is by that score, ties by the smaller row. So the result
    depends neither on the chunk sizes nor on how queries are distributed over processes, but for
    the last digits of scores beyond `scored`. Memory is a chunk of queries times a chunk of the
    gallery, never queries x gallery.

    The float32 products are computed in full precision, whatever
    `torch.set_float32_matmul_precision`, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE or autocast say: the
    bound on their rounding error holds for full precision alone.

    Args:
        queries: Q rows of D floats.
        gallery: N rows of D floats on the same device; N may be 0.
        k: number of rows to return per query, at least 1.
        exclude: gallery rows to leave out of single queries' rankings.
        scored: the number of first columns whose scores must be exact, which takes time; those of
            the others are off by a rounding of float32. None for all.
        query_chunk: queries that are searched at a time.
        gallery_chunk: gallery rows that are compared at a time.

    Raises:
        DataError: a query or a gallery row contains NaN or Inf, whose scores cannot be ranked.
    """
    parts = []
    with full_precision(queries[:0].device):
        for start in range(0, len(queries), query_chunk):
            stop = min(start + query_chunk, len(queries))
            excluded = None if exclude is None else exclude.for_queries(start, stop)
            part = queries[start:stop]
            length = _largest_norm(part, "query", queries, query_chunk)
            ranking = _topk_block(part, length, gallery, k, excluded, gallery_chunk)
            _score_exactly(ranking, part, gallery, k if scored is None else min(scored, k))
            parts.append(ranking)
    if not parts:
        return Ranking(torch.empty(0, k, dtype=torch.long), torch.empty(0, k, dtype=torch.float64))
    return Ranking(torch.cat([p.rows for p in parts]), torch.cat([p.scores for p in parts]))


def rank_rows(queries: Tensor, gallery: Vectors, rows: Tensor) -> Ranking:
    """Rank given gallery rows by their exact score.

    Args:
        queries: (Q, D) float embeddings.
        gallery: N rows of D floats.
        rows: (Q, C) long gallery rows to rank for each query, -1 for none.

    Returns:
        All C rows of each query, best first.

    Raises:
        DataError: a query or one of the rows contains NaN or Inf.
    """
    ranking = _rank_rows(queries, gallery, rows)
    if bool((~ranking.scores.isfinite() & (ranking.rows >= 0)).any()):
        _check_finite(queries, "query", len(queries))
        _check_finite(gallery, "gallery row", _CHECKED)
    return ranking


def _rank_rows(queries: Tensor, gallery: Vectors, rows: Tensor) -> Ranking:
    """Rank rows as `rank_rows` does, for embeddings that are known to be finite."""
    scores = torch.full(rows.shape, -torch.inf, dtype=torch.float64, device=rows.device)
    query, column = (rows >= 0).nonzero(as_tuple=True)
    scores[query, column] = exact_scores(queries, gallery, query, rows[query, column])
    return _in_order(rows, scores)


def _in_order(rows: Tensor, scores: Tensor) -> Ranking:
    """Order (Q, C) rows by their scores, ties by the smaller row."""
    by_row = rows.sort(dim=1)  # the stable sort below keeps the smaller row first
    order = scores.gather(1, by_row.indices).sort(dim=1, descending=True, stable=True)
    return Ranking(by_row.values.gather(1, order.indices), order.values)


def _topk_block(
    queries: Tensor,
    query_norm: float,
    gallery: Vectors,
    k: int,
    exclude: Excluded | None,
    chunk: int,
) -> Ranking:
    """Search for one chunk of queries, whose largest L2 norm is `query_norm`; see `topk`."""
    fast_rows, fast_scores, row_norm = _fast_pass(queries, gallery, k + MARGIN, exclude, chunk)
    width = fast_scores.shape[1]
    if width == 0:  # an empty gallery
        return first_columns(Ranking(fast_rows, fast_scores.double()), k)

    # A float32 product of D terms is off by at most D half-epsilons of its factors' norms, and
    # so is the one that it is compared with.
    error = queries.shape[1] * torch.finfo(torch.float32).eps * query_norm * row_norm
    kth = fast_scores[:, min(k, width) - 1]

    close = (fast_scores[:, :-1] - fast_scores[:, 1:]) <= error
    close &= fast_scores[:, 1:] >= kth[:, None] - error  # what is farther is not in the first k
    pad = torch.nn.functional.pad
    query, column = (pad(close, (1, 0)) | pad(close, (0, 1))).nonzero(as_tuple=True)
    scores = fast_scores.double()
    pairs = exact_scores(queries, gallery, query, fast_rows[query, column])
    scores[query, column] = pairs
    ranking = first_columns(_in_order(fast_rows, scores), k)
    if width == k + MARGIN:  # more rows than these may be as near: look at the full gallery
        last = fast_scores[:, -1]
        unsure = ((kth - last <= error) & last.isfinite()).nonzero()[:, 0]
        for i in unsure.tolist():
            exact = _exact_pass(queries[i], gallery, k, exclude, i, chunk)
            _replace(ranking, unsure.new_tensor([i]), exact, k)
    return ranking


def _fast_pass(
    queries: Tensor, gallery: Vectors, width: int, exclude: Excluded | None, chunk: int
) -> tuple[Tensor, Tensor, float]:
    """Find the best `width` rows by float32 score, their scores, and the largest row's L2 norm."""
    best_rows = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    best_scores = torch.empty(len(queries), 0, device=queries.device)
    largest_norm = 0.0
    for start in range(0, len(gallery), chunk):
        block = gallery[start : min(start + chunk, len(gallery))]
        largest_norm = max(largest_norm, _largest_norm(block, "gallery row", gallery, chunk))
        scores = inner_products(queries, block)  # (Q, chunk)
        if exclude is not None:
            inside = (exclude.rows >= start) & (exclude.rows < start + len(block))
            scores[exclude.queries[inside], exclude.rows[inside] - start] = -torch.inf
        top = scores.topk(min(width, len(block)), dim=1)
        best_scores = torch.cat([best_scores, top.values], dim=1)
        best_rows = torch.cat([best_rows, top.indices + start], dim=1)
        if best_scores.shape[1] > width:
            keep = best_scores.topk(width, dim=1)
            best_scores, best_rows = keep.values, best_rows.gather(1, keep.indices)
    order = best_scores.sort(dim=1, descending=True)
    rows = best_rows.gather(1, order.indices)
    return rows.masked_fill(order.values.isneginf(), -1), order.values, largest_norm


def _largest_norm(part: Tensor, row_kind: str, embeddings: Vectors, chunk: int) -> float:
    """Return the largest L2 norm among the rows of a chunk, after checking that it is finite.

    Raises:
        DataError: rows of all embeddings contain NaN or Inf; the message names the first of them.
    """
    largest = float(torch.linalg.vector_norm(part, dim=1).max())
    if not math.isfinite(largest):
        _check_finite(embeddings, row_kind, chunk)
    return largest


def _check_finite(embeddings: Vectors, row_kind: str, chunk: int) -> None:
    """Raise DataError if rows contain NaN or Inf, or have a norm that overflows float32."""
    bad: list[int] = []
    for start in range(0, len(embeddings), chunk):
        part = embeddings[start : min(start + chunk, len(embeddings))]
        norms = torch.linalg.vector_norm(part, dim=1)
        bad += (start + (~norms.isfinite()).nonzero()[:, 0]).tolist()
    if not bad:
        return
    shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    raise DataError(
        f"embeddings contain NaN or Inf (or overflow float32): {len(bad)} of {len(embeddings)}, "
        f"{row_kind} {shown}; they cannot be ranked, so embed these again"
    )


def _exact_pass(
    query: Tensor, gallery: Vectors, k: int, exclude: Excluded | None, position: int, chunk: int
) -> Ranking:
    """Find the k best rows of one query with every score in float64: for galleries full of ties."""
    excluded = None if exclude is None else exclude.rows[exclude.queries == position]
    kept = torch.empty(1, 0, dtype=torch.long, device=query.device)
    for start in range(0, len(gallery), chunk):
        rows = torch.arange(start, min(start + chunk, len(gallery)), device=query.device)
        if excluded is not None:
            rows = rows[~torch.isin(rows, excluded)]
        merged = torch.cat([kept, rows[None]], dim=1)
        kept = _rank_rows(query[None], gallery, merged).rows[:, :k]
    return _rank_rows(query[None], gallery, kept)


def exact_scores(queries: Tensor, gallery: Vectors, query: Tensor, row: Tensor) -> Tensor:
    """Compute the float64 inner products of P pairs.

    Summed pair by pair, not by a matrix product: equal rows then get equal scores to the last bit.

    Args:
        queries: (Q, D) float embeddings.
        gallery: N rows of D floats.
        query: (P,) long positions of queries.
        row: (P,) long gallery rows.

    Returns:
        (P,) float64.
    """
    step = max(1, 2**18 // max(1, queries.shape[1]))
    parts = [torch.empty(0, dtype=torch.float64, device=row.device)]
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        products = gallery[row[part]].double().mul_(queries[query[part]])
        parts.append(products.sum(dim=-1))
    return torch.cat(parts)


def _score_exactly(ranking: Ranking, queries: Tensor, gallery: Vectors, columns: int) -> None:
    """Put exact scores into the first columns of a ranking, in place."""
    query, column = (ranking.rows[:, :columns] >= 0).nonzero(as_tuple=True)
    rows = ranking.rows[query, column]
    ranking.scores[query, column] = exact_scores(queries, gallery, query, rows)


def first_columns(ranking: Ranking, k: int) -> Ranking:
    """Cut or pad a ranking to exactly k columns; padding is -1 and -inf."""
    missing = max(0, k - ranking.rows.shape[1])
    rows = torch.nn.functional.pad(ranking.rows[:, :k], (0, missing), value=-1)
    scores = torch.nn.functional.pad(ranking.scores[:, :k], (0, missing), value=-torch.inf)
    return Ranking(rows, scores)


def _replace(ranking: Ranking, queries: Tensor, better: Ranking, k: int) -> None:
    """Replace some queries' rankings in place by the first k of `better`."""
    rows, scores = first_columns(better, k)
    ranking.rows[queries] = rows
    ranking.scores[queries] = scores
