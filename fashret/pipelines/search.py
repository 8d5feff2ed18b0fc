"""Search the items of a data set by typed texts, and draw what is found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashret.functional.topk import topk
from fashret.pipelines.systems import System
from fashret.reports.contact_sheet import jpeg, photo_rows

_SHOWN = 8


def draw_queries(system: System, queries: Sequence[str], rows: NDArray[np.int64]) -> Path:
    """Write `queries.jpg`: the best photos for each typed query.

    Args:
        system: a model, which embeds the queries.
        queries: what is typed.
        rows: of the item table, ascending: the photos that are searched.

    Returns:
        the picture's path.
    """
    session, towers = system.session, system.towers
    weights = session.options.retrieval.weights or {}
    texts = towers.layout.weighted(towers.embed_texts(queries), weights)
    found = topk(texts, system.embedded(rows).image, min(_SHOWN, len(rows)))
    titles = session.table.column("text")
    drawn = []
    for query, ranked, scores in zip(queries, found.rows, found.scores, strict=True):
        items = [int(row) for row in rows[ranked.cpu().numpy()]]
        photos = [
            (session.table.photo(row), f"{score:.2f} {titles[row]}")
            for row, score in zip(items, scores.tolist(), strict=True)
        ]
        drawn.append((query, photos))
    session.output_dir.mkdir(parents=True, exist_ok=True)
    path = session.output_dir / "queries.jpg"
    path.write_bytes(jpeg(photo_rows(drawn)))
    return path
