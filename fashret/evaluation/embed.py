"""Judge embeddings without a training run."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.catalog.store import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.ranking import Embedded, rank
from fashret.evaluation.split_search import SplitSearch
from fashret.loading.batches import FeatureLoader
from fashret.loading.samplers import EvaluationSampler
from fashret.models.retriever import Retriever


class EvaluatedSystem(NamedTuple):
    """A system, what it found, and its embeddings of the items.

    Attributes:
        name: what reports call it.
        evaluation: what it found.
        rows: (n,) rows of the item table, ascending.
        embedded: of those rows.
    """

    name: str
    evaluation: Evaluation
    rows: NDArray[np.int64]
    embedded: Embedded


def evaluate(plan: SplitSearch, embedded: Embedded) -> Evaluation:
    """Search as deep as intervals need, and compute every metric of a split's scoreboard."""
    depth = list_depth(plan.searches["image"], max(plan.options.k))
    found = rank(plan, embedded, depth=depth)
    return Evaluation.from_rankings(plan, {mode: ranking for mode, (_, ranking) in found.items()})


@torch.inference_mode()
def embed_stored(
    retriever: Retriever,
    catalog: Catalog,
    table: ItemTable,
    codes: ItemCodes,
    rows: NDArray[np.int64],
) -> Embedded:
    """Embed rows of a table by a retriever's heads over a catalog's stored features.

    The batches are those of a training run's own evaluation, so that the numbers are too.
    """
    device = retriever.image_head.weight.device
    image = torch.zeros(len(rows), retriever.dim, device=device)
    text = torch.zeros_like(image)
    batches = EvaluationSampler([np.intersect1d(table.rows(s), rows) for s in table.splits])
    for batch in FeatureLoader(codes, catalog.image_features, catalog.text_features, batches):
        places = np.searchsorted(rows, batch["index"].numpy())
        batch["image_features"] = batch["image_features"].to(device)
        batch["text_features"] = batch["text_features"].to(device)
        batch["caption"] = batch["caption"].to(device)
        image[places], text[places] = retriever(batch)
    return Embedded(image, text, retriever.layout)
