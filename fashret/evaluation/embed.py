"""Embed the items of a split from stored features, and evaluate the embeddings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.folder import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.loading.batches import FeatureDataset, FeatureLoader, query_batch
from fashret.loading.samplers import EVALUATION_BATCH, EvaluationSampler
from fashret.models.retriever import Retriever


class EvaluatedSystem(NamedTuple):
    """A named system with its evaluation and its embeddings, as reports need them.

    Attributes:
        name: the name of the system in reports.
        evaluation: its rankings and metrics.
        rows: (n,) rows of the item table, ascending.
        embedded: the embeddings of those rows.
    """

    name: str
    evaluation: Evaluation
    rows: NDArray[np.int64]
    embedded: SplitEmbeddings


def evaluate_split(plan: SplitSearch, embedded: SplitEmbeddings) -> Evaluation:
    """Rank the gallery of a split, as deep as intervals need, and compute every metric."""
    depth = list_depth(plan.searches["image"], max(plan.options.k))
    rankings = rank_split(plan, embedded, depth=depth)
    return Evaluation.from_rankings(
        plan, {mode: ranking for mode, (_, ranking) in rankings.items()}
    )


@torch.inference_mode()
def embed_judged(
    plan: SplitSearch,
    embedded: SplitEmbeddings,
    retriever: Retriever,
    inputs: Mapping[str, Tensor],
) -> SplitEmbeddings:
    """Add the embeddings of a plan's judged queries.

    Args:
        plan: the searches of the split.
        embedded: the embeddings of its items.
        retriever: embeds the texts, and composes queries.
        inputs: by the name of the search, the texts: (Q, L) long tokens or (Q, G) float features;
            a search that is not in it is left out.
    """
    device = embedded.image.device
    judged = {}
    for name, texts in inputs.items():
        parts = [
            retriever.embed_queries(query_batch(part.to(device)))
            for part in texts.split(EVALUATION_BATCH)
        ]
        judged[name] = torch.cat(parts).float()
        reference = plan.judged[name].queries.reference
        if reference is not None:
            position = np.searchsorted(plan.rows, reference.numpy())
            photos = embedded.image[torch.from_numpy(position).to(device)]
            judged[name] = retriever.compose(photos, judged[name])
    return replace(embedded, judged=judged)


@torch.inference_mode()
def embed_stored(
    retriever: Retriever,
    catalog: Catalog,
    table: ItemTable,
    codes: ItemCodes,
    rows: NDArray[np.int64],
) -> SplitEmbeddings:
    """Embed items with a retriever's heads, from the features that a catalog stores.

    The batches are those of validation during training, so that both give the same numbers.

    Args:
        retriever: the heads; they decide the device.
        catalog: the stored tower features of all items.
        table: the items.
        codes: the codes of the table.
        rows: (n,) rows of the table to embed, ascending.
    """
    device = retriever.image_head.weight.device
    image = torch.zeros(len(rows), retriever.dim, device=device)
    text = torch.zeros_like(image)
    batches = EvaluationSampler([np.intersect1d(table.rows(s), rows) for s in table.splits])
    features = FeatureDataset(codes, catalog.image_features, catalog.text_features)
    for batch in FeatureLoader(features, batches):
        position = np.searchsorted(rows, batch["index"].numpy())
        batch["image_features"] = batch["image_features"].to(device)
        batch["text_features"] = batch["text_features"].to(device)
        batch["caption"] = batch["caption"].to(device)
        image[position], text[position] = retriever(batch)
    return SplitEmbeddings(image, text, retriever.layout)
