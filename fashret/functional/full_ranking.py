"""Metrics of the full ranking of a gallery, without a cut-off k."""

from collections.abc import Callable

import torch
from torch import Tensor

from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded

_SCORES_PER_CHUNK = 2**22
"""Scores that are sorted at a time: 32 MB."""

FULL_RANKING_METRICS = ("map", "rprecision")
"""The metrics of `full_ranking_metrics`, by the names that metric keys use."""


def full_ranking_metrics(
    queries: Tensor,
    gallery: Vectors,
    relevant: Callable[[Tensor], Tensor],
    exclude: Excluded | None = None,
) -> dict[str, Tensor]:
    """Average precision and R-precision over the full gallery, ranked in float64.

    Ties go to the smaller row. The gallery is ranked for a few queries at a time.

    Args:
        queries: (Q, D) float embeddings.
        gallery: N rows of D floats.
        relevant: (q,) long positions of queries -> (q, N) bool, the relevant gallery rows.
        exclude: gallery rows to leave out of single queries' rankings.

    Returns:
        `map` (the precision at each hit's rank, summed, over the number R of relevant rows) and
        `rprecision` (the precision of the first R), (Q,) float64 each, NaN where R is 0. `map` cut
        at R is the MAP@R of Musgrave et al., A Metric Learning Reality Check, ECCV 2020.
    """
    items = gallery[:].double()
    step = max(1, _SCORES_PER_CHUNK // max(1, len(items)))
    results: dict[str, list[Tensor]] = {name: [] for name in FULL_RANKING_METRICS}
    ranks = torch.arange(1, len(items) + 1, dtype=torch.float64, device=items.device)
    for start in range(0, len(queries), step):
        stop = min(start + step, len(queries))
        scores = queries[start:stop].double() @ items.T
        is_relevant = relevant(torch.arange(start, stop, device=items.device))
        if exclude is not None:
            excluded = exclude.for_queries(start, stop)
            scores[excluded.queries, excluded.rows] = -torch.inf
            is_relevant[excluded.queries, excluded.rows] = False
        order = scores.sort(dim=1, descending=True, stable=True).indices
        hits = is_relevant.gather(1, order).double()
        num_relevant = hits.sum(dim=1)
        num_hits = hits.cumsum(dim=1)
        results["map"].append((num_hits / ranks * hits).sum(dim=1) / num_relevant)
        at_r = (num_relevant.long() - 1).clamp(min=0)[:, None]
        results["rprecision"].append(num_hits.gather(1, at_r)[:, 0] / num_relevant)
    empty = torch.empty(0, dtype=torch.float64)
    return {name: torch.cat(parts) if parts else empty for name, parts in results.items()}
