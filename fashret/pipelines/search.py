"""Typed queries, and a picture of what they find."""

from collections.abc import Iterable, Sequence

import numpy as np

from fashret.evaluation.embed import embed_texts
from fashret.functional.topk import topk
from fashret.pipelines.systems import System
from fashret.reports.contact_sheet import jpeg, photo_rows

_SHOWN = 8


def typed_queries(queries: str | Iterable[object]) -> list[str]:
    """The texts of `queries=`: one that is typed without brackets is one query, not its letters.

    Example:
        >>> typed_queries("red dress"), typed_queries(["red dress", 501])
        (['red dress'], ['red dress', '501'])
    """
    return [queries] if isinstance(queries, str) else [str(query) for query in queries]


def draw_typed(system: System, queries: Sequence[str], split: str) -> None:
    """Write `queries.jpg`: the best photos of a split for each typed query.

    Args:
        system: a model, which embeds them.
        queries: what is typed.
        split: whose photos are searched.
    """
    setup = system.setup
    towers = system.towers
    protocol = setup.protocol(split)
    texts = towers.layout.weighted(embed_texts(towers, queries), protocol.options.weights or {})
    embedded = system.embedded(protocol)
    places = np.searchsorted(protocol.rows, protocol.catalog)
    found = topk(texts, embedded.image[places], min(_SHOWN, len(places)))
    titles = setup.table.column("text")
    rows = []
    for query, ranked, scores in zip(queries, found.rows, found.scores, strict=True):
        items = [int(row) for row in protocol.catalog[ranked.cpu().numpy()]]
        photos = [
            (setup.table.photo(row), f"{score:.2f} {titles[row]}")
            for row, score in zip(items, scores.tolist(), strict=True)
        ]
        rows.append((query, photos))
    setup.output_dir.mkdir(parents=True, exist_ok=True)
    path = setup.output_dir / "queries.jpg"
    path.write_bytes(jpeg(photo_rows(rows)))
    print(f"what the typed queries find: {path}")
