"""Typed queries, and a picture of what they find."""

from collections.abc import Sequence

import numpy as np
import torch

from fashret.cli.checkpoints import with_weights
from fashret.cli.systems import System
from fashret.functional.topk import topk
from fashret.models.retriever import Retriever
from fashret.reports.picture import jpeg, photo_rows

_SHOWN = 8


@torch.inference_mode()
def draw_typed(system: System, queries: Sequence[str], split: str) -> None:
    """Write `queries.jpg`: the best photos of a split for each typed query.

    Args:
        system: a model, which embeds them.
        queries: what is typed.
        split: whose photos are searched.
    """
    setup = system.setup
    towers = Retriever.on(setup.backbone)
    if system.state is not None:
        with_weights(system.state, towers, setup.spec)
    towers = towers.eval().to(setup.device)
    tokens = setup.backbone.tokenize(queries).to(setup.device)
    known = torch.ones(len(queries), dtype=torch.bool, device=setup.device)
    texts = towers.embed_text(setup.backbone.encode_text(tokens), known)
    protocol = setup.protocol(split)
    texts = towers.layout.weighted(texts, protocol.options.weights or {})
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
