"""Compare a model's similarities of matching pairs of photos with those of other pairs."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.evaluation.split_search import SplitSearch
from fashret.types import UNKNOWN

SAME_PRODUCT, HARD_NEGATIVE, RANDOM = "one product", "one category, another value", "at random"

Pairs = Mapping[str, tuple[Tensor, Tensor]]
"""By kind of pair, the positions of both photos, (P,) each, among the rows of a plan."""

_MAX_PAIRS = 5000


def sample_photo_pairs(evaluation: Evaluation, *, seed: int = 0) -> Pairs:
    """Draw at most 5,000 pairs of each kind among the photos of an evaluation.

    The kinds are: photos of one product; a query and a retrieved photo of the same category with a
    different value of an attribute (a hard negative for the evaluated model); and random photos.

    Args:
        evaluation: the evaluation of a split.
        seed: the seed of the draw.
    """
    plan = evaluation.plan
    assert isinstance(plan, SplitSearch)
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(plan.rows)
    product = plan.codes.product[rows]
    order = product.argsort(stable=True)
    same_product = (product[order][1:] == product[order][:-1]) & (product[order][1:] != UNKNOWN)
    first, second = torch.from_numpy(rng.integers(len(rows), size=(2, _MAX_PAIRS)))
    distinct = first != second
    pairs = {
        SAME_PRODUCT: (order[:-1][same_product], order[1:][same_product]),
        HARD_NEGATIVE: _hard_negatives(evaluation),
        RANDOM: (first[distinct], second[distinct]),
    }
    chosen = {}
    for kind, (one, other) in pairs.items():
        some = torch.from_numpy(rng.permutation(len(one))[:_MAX_PAIRS])
        chosen[kind] = (one[some], other[some])
    return chosen


def pair_similarities(embedded: SplitEmbeddings, pairs: Pairs) -> dict[str, Tensor]:
    """Return the cosine similarities of the general embeddings by kind of pair, (P,) on the CPU."""
    photos = embedded.layout.block(embedded.image)
    return {
        kind: (photos[one.to(photos.device)] * photos[other.to(photos.device)]).sum(dim=1).cpu()
        for kind, (one, other) in pairs.items()
    }


def _hard_negatives(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Queries and retrieved items of the same category that differ in a known attribute."""
    plan, retrieved = evaluation.plan, evaluation.rankings["image"].rows
    assert isinstance(plan, SplitSearch)
    hits = {name: evaluation.hits(f"image/{name}") for name in plan.relevances("image")}
    differs = torch.zeros(retrieved.shape, dtype=torch.bool)
    for name in set(plan.described) - {"category"}:
        query_codes, gallery_codes = plan.relevance_codes(name)
        known = gallery_codes[retrieved.clamp(min=0)] != UNKNOWN
        known &= query_codes[:, None] != UNKNOWN
        differs |= known & ~hits[name]
    chosen = differs & hits["category"] & ~hits["product"] & (retrieved >= 0)
    queries, ranks = chosen.nonzero(as_tuple=True)
    items = plan.gallery[retrieved[queries, ranks].numpy()]
    query_rows = plan.queries[queries.numpy()]
    positions = [np.searchsorted(plan.rows, rows) for rows in (query_rows, items)]
    return torch.from_numpy(positions[0]), torch.from_numpy(positions[1])
