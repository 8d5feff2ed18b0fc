"""Embed the items of a split from stored features, and evaluate the embeddings."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.catalog.store import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.loading.batches import FeatureDataset, FeatureLoader
from fashret.loading.samplers import EvaluationSampler
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
