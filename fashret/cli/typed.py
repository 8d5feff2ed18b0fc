"""Typed queries, and a picture of what they find."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.cli.checkpoints import with_weights
from fashret.cli.setup import Setup
from fashret.engine.evaluation import embed_stored
from fashret.functional.topk import topk
from fashret.models.retriever import Retriever
from fashret.reports.picture import jpeg, photo_rows

_SHOWN = 8


@torch.inference_mode()
def draw_typed(
    setup: Setup,
    retriever: Retriever,
    catalog: Catalog,
    state: Mapping[str, Tensor] | None,
    queries: Sequence[str],
    split: str,
) -> None:
    """Write `queries.jpg`: the best photos of a split for each typed query.

    Args:
        setup: of the command.
        retriever: the model, over the catalog's features.
        catalog: of the searched items.
        state: the model's learned weights; None for one as it comes.
        queries: what is typed.
        split: whose photos are searched.
    """
    towers = Retriever.on(setup.backbone)
    if state is not None:
        with_weights(state, towers, setup.spec)
    towers = towers.eval().to(setup.device)
    tokens = setup.backbone.tokenize(queries).to(setup.device)
    known = torch.ones(len(queries), dtype=torch.bool, device=setup.device)
    texts = towers.embed_text(setup.backbone.encode_text(tokens), known)
    protocol = setup.protocol(split)
    texts = towers.layout.weighted(texts, protocol.options.weights or {})
    embedded = embed_stored(retriever, catalog, setup.table, setup.codes, protocol)
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
