"""How alike a model finds pairs of photos that should be alike, and pairs that should not."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.ranking import Embedded
from fashret.evaluation.split_search import SplitSearch
from fashret.types import UNKNOWN

PRODUCT, ALIKE, RANDOM = "one product", "one category, another value", "at random"

Pairs = Mapping[str, tuple[Tensor, Tensor]]
"""By kind the places of both photos in the rows of a plan."""

_MOST = 5000


def kinds_of_pairs(evaluation: Evaluation, *, seed: int = 0) -> Pairs:
    """At most 5,000 pairs of each kind among the photos of an evaluation.

    Photos of one product; a photo and one that it found, of its category with another value of a
    known attribute (hard negatives to the model that found them); and photos at random.
    """
    plan = evaluation.plan
    assert isinstance(plan, SplitSearch)
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(plan.rows)
    product = plan.codes.product[rows]
    order = product.argsort(stable=True)
    mates = (product[order][1:] == product[order][:-1]) & (product[order][1:] != UNKNOWN)
    first, second = torch.from_numpy(rng.integers(len(rows), size=(2, _MOST)))
    apart = first != second
    pairs = {
        PRODUCT: (order[:-1][mates], order[1:][mates]),
        ALIKE: _alike(evaluation),
        RANDOM: (first[apart], second[apart]),
    }
    chosen = {}
    for kind, (one, other) in pairs.items():
        some = torch.from_numpy(rng.permutation(len(one))[:_MOST])
        chosen[kind] = (one[some], other[some])
    return chosen


def likeness(embedded: Embedded, pairs: Pairs) -> dict[str, Tensor]:
    """By kind the cosines of the general blocks of its pairs, (P,) on the CPU."""
    photos = embedded.layout.block(embedded.image)
    return {
        kind: (photos[one.to(photos.device)] * photos[other.to(photos.device)]).sum(dim=1).cpu()
        for kind, (one, other) in pairs.items()
    }


def _alike(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Queries and what they found in their category that differs in a known attribute."""
    plan, found = evaluation.plan, evaluation.rankings["image"].rows
    assert isinstance(plan, SplitSearch)
    hits = {name: evaluation.hits(f"image/{name}") for name in plan.relevances("image")}
    differs = torch.zeros(found.shape, dtype=torch.bool)
    for name in set(plan.described) - {"category"}:
        asked, held = plan.relevance_codes(name)
        known = (asked[:, None] != UNKNOWN) & (held[found.clamp(min=0)] != UNKNOWN)
        differs |= known & ~hits[name]
    taken = differs & hits["category"] & ~hits["product"] & (found >= 0)
    queries, ranks = taken.nonzero(as_tuple=True)
    items = plan.catalog[found[queries, ranks].numpy()]
    asked_rows = plan.queries[queries.numpy()]
    places = [np.searchsorted(plan.rows, rows) for rows in (asked_rows, items)]
    return torch.from_numpy(places[0]), torch.from_numpy(places[1])
