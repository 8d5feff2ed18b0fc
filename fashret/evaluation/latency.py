"""How long a single query takes, asked alone."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fashret.functional.similarity import Vectors
from fashret.functional.topk import topk
from fashret.models.retriever import Retriever

QUERIES = 100
"""How many queries are timed at most."""

_WARM_UP = 3
"""Queries before them that are not counted: the first ones load kernels and fill caches."""

_SECONDS = 10.0
"""After which no further query is asked."""


def search_latency(queries: Tensor, gallery: Vectors, k: int) -> dict[str, float]:
    """Time exact top-k searches by one embedding each.

    Args:
        queries: (Q, D) embeddings, Q >= 1; at most 100 of them ask, spread over all.
        gallery: N rows of D floats that are searched.
        k: how many are found.

    Returns:
        see `percentiles`.
    """
    return percentiles(_timed(lambda i: topk(queries[i : i + 1], gallery, k).rows, len(queries)))


@torch.inference_mode()
def text_query_latency(
    retriever: Retriever,
    texts: Sequence[str],
    gallery: Vectors,
    k: int,
    weighted: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """Time text queries from the typed text to the found rows: tokens, tower, head, search.

    Args:
        retriever: with towers.
        texts: at least 1; at most 100 of them ask, spread over all.
        gallery: N rows of D floats that are searched.
        k: how many are found.
        weighted: embeddings as queries ask with them, by the model's attribute blocks.

    Returns:
        see `percentiles`.
    """

    def ask(i: int) -> Tensor:
        return topk(weighted(retriever.embed_texts([texts[i]])), gallery, k).rows

    return percentiles(_timed(ask, len(texts)))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile in milliseconds, linear between the nearest ranks, and n.

    Example:
        >>> percentiles([0.001, 0.002, 0.003])
        {'p50': 2.0, 'p95': 2.9, 'n': 3}
    """
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {"p50": round(float(p50), 4), "p95": round(float(p95), 4), "n": len(seconds)}


def _timed(ask: Callable[[int], Tensor], count: int) -> list[float]:
    """Seconds of each query; its result is brought to the CPU, as whoever asked would have it."""
    chosen = np.unique(np.linspace(0, count - 1, QUERIES).round().astype(int)).tolist()
    for i in chosen[:_WARM_UP]:
        ask(i).cpu()
    seconds: list[float] = []
    for i in chosen:
        start = time.perf_counter()
        ask(i).cpu()
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > _SECONDS:
            break
    return seconds
