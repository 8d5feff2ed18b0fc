"""Judge embeddings without a training run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.ranking import Embedded, rank
from fashret.evaluation.split_search import Protocol
from fashret.loading.batches import FeatureLoader
from fashret.loading.samplers import EvaluationBatches
from fashret.models.retriever import Retriever


class Judged(NamedTuple):
    """A system, what it found, and its embeddings of the protocol's rows."""

    name: str
    evaluation: Evaluation
    embedded: Embedded


def evaluate(protocol: Protocol, embedded: Embedded) -> Evaluation:
    """Search as deep as intervals need, and compute every metric."""
    found = rank(protocol, embedded, depth=list_depth(protocol))
    return Evaluation.of(protocol, {mode: ranking for mode, (_, ranking) in found.items()})


@torch.inference_mode()
def embed_stored(
    retriever: Retriever, catalog: Catalog, table: ItemTable, codes: ItemCodes, protocol: Protocol
) -> Embedded:
    """The embeddings that a retriever's heads make of a catalog's features.

    The batches are those of a training run's own evaluation, so that the numbers are too.
    """
    device = retriever.image_head.weight.device
    rows = protocol.rows
    image = torch.zeros(len(rows), retriever.dim, device=device)
    text = torch.zeros_like(image)
    batches = EvaluationBatches([np.intersect1d(table.rows(s), rows) for s in table.splits])
    for batch in FeatureLoader(codes, catalog.image_features, catalog.text_features, batches):
        places = np.searchsorted(rows, batch["index"].numpy())
        batch["image_features"] = batch["image_features"].to(device)
        batch["text_features"] = batch["text_features"].to(device)
        batch["caption"] = batch["caption"].to(device)
        image[places], text[places] = retriever(batch)
    return Embedded(image, text, retriever.layout)


@torch.inference_mode()
def embed_texts(retriever: Retriever, texts: Sequence[str]) -> Tensor:
    """(n, D) embeddings of typed texts, under a retriever with towers."""
    assert retriever.backbone is not None, "new texts need towers"
    device = retriever.text_head.weight.device
    tokens = retriever.backbone.tokenize(texts).to(device)
    known = torch.ones(len(texts), dtype=torch.bool, device=device)
    return retriever.embed_text(retriever.backbone.encode_text(tokens), known)


@torch.inference_mode()
def embed_photos(retriever: Retriever, photos: Sequence[Image.Image]) -> Tensor:
    """(n, D) embeddings of new photos, under a retriever with towers."""
    assert retriever.backbone is not None, "new photos need towers"
    device = retriever.image_head.weight.device
    prepared = torch.stack([retriever.backbone.photo_transform()(photo) for photo in photos])
    return retriever.embed_image(retriever.backbone.encode_image(prepared.to(device)))
