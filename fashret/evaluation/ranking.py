"""Rank what each query of a split finds, given everybody's embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.split_search import MODES, SplitSearch
from fashret.functional.blocks import Layout
from fashret.functional.imputation import impute_texts
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import Excluded, Ranking, first_columns, rank_rows, topk


@dataclass(frozen=True)
class Embedded:
    """The embeddings of a plan's rows.

    Attributes:
        image: (n, D), row i of `plan.rows`.
        text: (n, D), zero where an item has no text.
        layout: which columns belong to which block.
    """

    image: Tensor
    text: Tensor
    layout: Layout

    @cached_property
    def completed_text(self) -> Tensor:
        """(n, D) text embeddings of what a fused query searches: imputed where there is no text."""
        return impute_texts(self.image, self.text, self.layout)


def rank(
    plan: SplitSearch,
    embedded: Embedded,
    *,
    modes: Sequence[str] = MODES,
    part: int = 0,
    parts: int = 1,
    depth: int | None = None,
) -> Mapping[str, tuple[Tensor, Ranking]]:
    """Search the catalog for every `parts`-th query.

    Args:
        plan: who searches what.
        embedded: by the rows of the plan.
        modes: what queries are made of.
        part: which share of the queries, 0 to parts - 1.
        parts: into how many shares the queries are dealt.
        depth: columns of a ranking; None for the largest k.

    Returns:
        For each mode the positions of its queries and their rankings, whose rows are positions
        in the plan's catalog; all on the CPU.
    """
    device = embedded.image.device
    places = torch.from_numpy(np.searchsorted(plan.rows, plan.queries)).to(device)
    catalog = torch.from_numpy(np.searchsorted(plan.rows, plan.catalog)).to(device)
    whole = len(catalog) == len(embedded.image)
    image = embedded.image if whole else embedded.image[catalog]
    completed = embedded.completed_text if "fused" in modes else embedded.text
    text = completed if whole else completed[catalog]
    mine = torch.arange(part, len(places), parts, device=device)
    asked = places[mine]
    weight, weights = plan.options.weight_image, plan.options.weights or {}
    photos = embedded.layout.weighted(embedded.image[asked], weights)
    captions = embedded.layout.weighted(embedded.text[asked], weights)
    searches: dict[str, tuple[Vectors, Vectors]] = {
        "image": (photos, image),
        "text": (captions, image),
        "fused": (Fused(photos, captions, weight), Fused(image, text, weight)),
    }
    found = {}
    for mode in modes:
        queries, items = searches[mode]
        barred = _share(plan.searches[mode].excluded, part, parts, device)
        k = depth or max(plan.options.k)
        candidates = plan.options.candidates
        if mode == "fused" and candidates is not None:
            first = topk(*searches["image"], candidates, exclude=barred)
            ranking = first_columns(rank_rows(queries[:], items, first.rows), k)
        else:
            ranking = topk(queries, items, k, exclude=barred)
        found[mode] = (mine.cpu(), Ranking(ranking.rows.cpu(), ranking.scores.cpu()))
    return found


def _share(
    excluded: Excluded | None, part: int, parts: int, device: torch.device
) -> Excluded | None:
    """The exclusions of every `parts`-th query, counted among those."""
    if excluded is None:
        return None
    mine = excluded.queries % parts == part
    return Excluded((excluded.queries[mine] // parts).to(device), excluded.rows[mine].to(device))
