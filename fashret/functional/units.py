"""Rankings of units, such as products, by the best-ranked item of each."""

import torch
from torch import Tensor

from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded, Ranking, first_columns, topk
from fashret.types import UNKNOWN


def units_of(codes: Tensor) -> Tensor:
    """Number the units of items from their codes; an item of no known code is a unit of its own.

    Args:
        codes: (N,) long codes, UNKNOWN where there is none.
    """
    if not len(codes):
        return codes
    alone = codes.max().clamp(min=0) + 1 + torch.arange(len(codes), device=codes.device)
    units: Tensor = torch.where(codes == UNKNOWN, alone, codes).unique(return_inverse=True)[1]
    return units


def topk_units(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    units: Tensor,
    *,
    exclude: Excluded | None = None,
) -> Ranking:
    """Find the k units with the most similar items for each query.

    A unit is ranked by its best item, so that ten photos of one product are one answer. The list of
    items is made deeper until k units are in it.

    Args:
        queries: Q rows of D floats.
        gallery: N rows of D floats.
        k: number of units to return per query, at least 1.
        units: (N,) long number of each item's unit, from 0.
        exclude: gallery rows to leave out of single queries' rankings; the unit's other items stay.

    Returns:
        The best item of each unit, as `functional.topk.topk` returns items.
    """
    total = len(units)
    wanted = min(k, int(units.max()) + 1) if total else 0
    depth = min(total, 2 * k)
    while True:
        ranking = topk(queries, gallery, max(1, depth), exclude=exclude)
        best = first_of_units(ranking, units)
        if depth >= total or bool(((best.rows >= 0).sum(dim=1) >= wanted).all()):
            return first_columns(best, k)
        depth = min(total, 2 * depth)


def first_of_units(ranking: Ranking, units: Tensor) -> Ranking:
    """Keep the first item of each unit in rankings, in their order.

    Args:
        ranking: (Q, L) items, best first.
        units: (N,) long unit of each item.

    Returns:
        (Q, L), padded with -1 and -inf.
    """
    rows = ranking.rows
    if not len(units):
        return ranking
    of_rank = torch.where(rows < 0, -1, units.to(rows.device)[rows.clamp(min=0)])
    ordered, order = of_rank.sort(dim=1, stable=True)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    kept = torch.zeros_like(is_new).scatter_(1, order, is_new & (ordered >= 0))
    columns = (~kept).sort(dim=1, stable=True).indices
    return Ranking(
        rows.masked_fill(~kept, -1).gather(1, columns),
        ranking.scores.masked_fill(~kept, -torch.inf).gather(1, columns),
    )
