"""Metrics of whole rankings, which no first k answers."""

from collections.abc import Callable

import torch
from torch import Tensor

from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded

_AT_A_TIME = 2**22
"""Scores that are sorted at a time: 32 MB."""

WHOLE = ("map", "rprecision")


def whole_rankings(
    queries: Tensor,
    catalog: Vectors,
    relevant: Callable[[Tensor], Tensor],
    exclude: Excluded | None = None,
) -> dict[str, Tensor]:
    """Average precision and R-precision over the whole catalog, ranked in float64.

    Ties go to the smaller row. The catalog is ranked for a few queries at a time.

    Args:
        queries: (Q, D).
        catalog: N rows of D floats.
        relevant: (q,) positions of queries -> (q, N) bool.
        exclude: what single queries must not find.

    Returns:
        `map` (the precision at each hit's rank, summed, over R) and `rprecision` (the precision
        of the first R), (Q,) float64 each, NaN where R is 0. Musgrave et al., A Metric Learning
        Reality Check, ECCV 2020, calls what `map` is cut at R MAP@R.
    """
    items = catalog[:].double()
    step = max(1, _AT_A_TIME // max(1, len(items)))
    found: dict[str, list[Tensor]] = {name: [] for name in WHOLE}
    ranks = torch.arange(1, len(items) + 1, dtype=torch.float64, device=items.device)
    for start in range(0, len(queries), step):
        stop = min(start + step, len(queries))
        scores = queries[start:stop].double() @ items.T
        right = relevant(torch.arange(start, stop, device=items.device))
        if exclude is not None:
            barred = exclude.of(start, stop)
            scores[barred.queries, barred.rows] = -torch.inf
            right[barred.queries, barred.rows] = False
        hits = right.gather(1, scores.sort(dim=1, descending=True, stable=True).indices).double()
        total = hits.sum(dim=1)
        reached = hits.cumsum(dim=1)
        found["map"].append((reached / ranks * hits).sum(dim=1) / total)
        at = (total.long() - 1).clamp(min=0)[:, None]
        found["rprecision"].append(reached.gather(1, at)[:, 0] / total)
    empty = torch.empty(0, dtype=torch.float64)
    return {name: torch.cat(parts) if parts else empty for name, parts in found.items()}
