"""Measure the latency of single queries."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fashret.functional.similarity import Vectors
from fashret.functional.topk import topk
from fashret.models.retriever import Retriever

QUERIES = 100
"""The maximum number of timed queries."""

_WARM_UP = 3
"""Untimed queries before them, which load kernels and fill caches."""

_SECONDS = 10.0
"""The time budget: after so many seconds no further query is timed."""


def search_latency(queries: Tensor, gallery: Vectors, k: int) -> dict[str, float]:
    """Measure the latency of exact top-k search, one query embedding at a time.

    Args:
        queries: (Q, D) embeddings, Q >= 1; at most 100 of them are timed, evenly spaced.
        gallery: the N embeddings to search, D floats each.
        k: the number of retrieved items.

    Returns:
        p50 and p95 in milliseconds and the number of queries; see `percentiles`.
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
    """Measure the latency of text queries end to end: tokenizer, tower, head, search.

    Args:
        retriever: the model with its towers.
        texts: the queries, at least 1; at most 100 of them are timed, evenly spaced.
        gallery: the N embeddings to search, D floats each.
        k: the number of retrieved items.
        weighted: applies the weights of the attribute heads to (1, D) query embeddings.

    Returns:
        p50 and p95 in milliseconds and the number of queries; see `percentiles`.
    """

    def search_one(i: int) -> Tensor:
        return topk(weighted(retriever.embed_texts([texts[i]])), gallery, k).rows

    return percentiles(_timed(search_one, len(texts)))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds (linear interpolation), and n.

    Example:
        >>> percentiles([0.001, 0.002, 0.003])
        {'p50': 2.0, 'p95': 2.9, 'n': 3}
    """
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {"p50": round(float(p50), 4), "p95": round(float(p95), 4), "n": len(seconds)}


def _timed(search_one: Callable[[int], Tensor], count: int) -> list[float]:
    """Seconds of each query, with the copy of its result to the CPU."""
    chosen = np.unique(np.linspace(0, count - 1, QUERIES).round().astype(int)).tolist()
    for i in chosen[:_WARM_UP]:
        search_one(i).cpu()
    seconds: list[float] = []
    for i in chosen:
        start = time.perf_counter()
        search_one(i).cpu()
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > _SECONDS:
            break
    return seconds
