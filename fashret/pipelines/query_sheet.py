"""Draw the best photos for typed queries as one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashret.functional.topk import topk
from fashret.pipelines.systems import System
from fashret.reports.contact_sheet import jpeg, photo_rows

_SHOWN = 8
"""Photos for each query."""


def draw_queries(system: System, queries: Sequence[str], rows: NDArray[np.int64]) -> Path:
    """Write `queries.jpg`, a contact sheet with the best photos for each text query.

    Args:
        system: the model that embeds the queries.
        queries: the texts.
        rows: the rows of the item table to search, ascending.

    Returns:
        The path of the picture.
    """
    session, towers = system.session, system.towers
    weights = session.options.retrieval.weights or {}
    texts = towers.layout.weighted(towers.embed_texts(queries), weights)
    ranking = topk(texts, system.whole.embedded(rows).image, min(_SHOWN, len(rows)))
    titles = session.table.column("text")
    drawn = []
    for query, ranked, scores in zip(queries, ranking.rows, ranking.scores, strict=True):
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
