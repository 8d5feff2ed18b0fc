"""Rank the gallery of a split for each of its queries, given the embeddings of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.functional.documents import documents
from fashret.functional.imputation import impute_texts
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import Excluded, Ranking, first_columns, rank_rows, topk
from fashret.functional.units import first_of_units, topk_units
from fashret.tasks.base import Search


@dataclass(frozen=True)
class SplitEmbeddings:
    """The embeddings of the n items that the evaluation of a split needs (`SplitSearch.rows`).

    Attributes:
        image: (n, D) float; row i embeds the photo of item `plan.rows[i]`.
        text: (n, D) float; a row of zeros where an item has no text.
        layout: the columns of the general embedding and of each attribute head.
        judged: (Q, D) float embeddings of the judged queries by the name of their search; a search
            that is not in it is not ranked.
        whole: the embeddings that these are smaller ones of, if those score again what these find;
            None if nothing is scored again.
        candidates: the items that are scored again for each column of a ranking.
    """

    image: Tensor
    text: Tensor
    layout: Layout
    judged: Mapping[str, Tensor] = field(default_factory=dict)
    whole: "SplitEmbeddings | None" = None
    candidates: int = 0

    @cached_property
    def completed_text(self) -> Tensor:
        """(n, D) text embeddings for fused search, imputed where an item has no text."""
        return impute_texts(self.image, self.text, self.layout)


def rank_split(
    plan: SplitSearch,
    embedded: SplitEmbeddings,
    *,
    modes: Sequence[str] | None = None,
    part: int = 0,
    parts: int = 1,
    depth: int | None = None,
) -> Mapping[str, tuple[Tensor, Ranking]]:
    """Rank the gallery for every `parts`-th query of a split.

    Args:
        plan: the queries and the gallery of the split.
        embedded: the embeddings of `plan.rows`.
        modes: the query modes to rank: image, text, fused; None for those of the plan.
        part: the share of the queries to rank, 0 to parts - 1 (one share for each process).
        parts: the number of shares that the queries are divided into.
        depth: the number of columns of a ranking; None for the largest k.

    Returns:
        For each mode and judged search, the positions of the ranked queries, and their rankings
        as positions in `plan.gallery`; all tensors are on the CPU.
    """
    modes = plan.modes if modes is None else modes
    searches = _searches(plan, embedded, modes, part, parts)
    whole = embedded.whole and _searches(plan, embedded.whole, modes, part, parts)
    most, options, device = max(plan.options.k), plan.options, embedded.image.device
    k = depth or most
    rankings = {}
    for name, (own, queries, items) in searches.items():
        search = plan.searches[name]
        excluded = _share(search.excluded, part, parts, device)
        scored, proposing = 0, (queries, items)
        if isinstance(queries, Fused) and isinstance(items, Fused) and options.candidates:
            scored, proposing = options.candidates, (queries.image, items.image)
        elif whole:
            scored = most * embedded.candidates
        if scored:
            exact = (whole or searches)[name][1:]
            ranking = _scored_again(search, *proposing, *exact, scored, k, excluded)
        else:
            ranking = ranked(search, queries, items, k, excluded, most)
        rankings[name] = (own.cpu(), Ranking(ranking.rows.cpu(), ranking.scores.cpu()))
    return rankings


def _scored_again(
    search: Search,
    queries: Vectors,
    items: Vectors,
    exact_queries: Vectors,
    exact_items: Vectors,
    scored: int,
    k: int,
    excluded: Excluded | None,
) -> Ranking:
    """Rank what a search ranks by some embeddings, and order the first of it by others.

    Args:
        search: the search, for its units.
        queries: the embeddings of the queries that propose items.
        items: the embeddings of its N gallery items that propose them.
        exact_queries: the embeddings of the queries that order the first items.
        exact_items: the embeddings of the items that order them.
        scored: the number of first items that are ordered again.
        k: the number of columns of the ranking.
        excluded: the gallery positions that are left out of these queries' rankings.
    """
    wanted = min(k, len(items) if search.units is None else int(search.units.max()) + 1)
    depth = min(len(items), max(k, scored))
    while True:
        first = topk(queries, items, max(1, depth), exclude=excluded, scored=0)
        again = rank_rows(exact_queries[:], exact_items, first.rows[:, :scored])
        ranking = Ranking(
            torch.cat([again.rows, first.rows[:, scored:]], dim=1),
            torch.cat([again.scores, first.scores[:, scored:]], dim=1),
        )
        if search.units is None:
            return first_columns(ranking, k)
        ranking = first_of_units(ranking, search.units)
        found = (ranking.rows >= 0).sum(dim=1)
        if depth >= len(items) or bool((found >= wanted).all()):
            return first_columns(ranking, k)
        depth = min(len(items), 2 * depth)  # few products have many of the first items


def _searches(
    plan: SplitSearch, embedded: SplitEmbeddings, modes: Sequence[str], part: int, parts: int
) -> dict[str, tuple[Tensor, Vectors, Vectors]]:
    """The positions of a share of the queries, their embeddings and the items', by search."""
    device = embedded.image.device
    query_idx = torch.from_numpy(np.searchsorted(plan.rows, plan.queries)).to(device)
    gallery_idx = torch.from_numpy(np.searchsorted(plan.rows, plan.gallery)).to(device)
    gallery_is_all = len(gallery_idx) == len(embedded.image)
    image = embedded.image if gallery_is_all else embedded.image[gallery_idx]
    completed = embedded.completed_text if "fused" in modes else embedded.text
    text = completed if gallery_is_all else completed[gallery_idx]
    own = torch.arange(part, len(query_idx), parts, device=device)
    own_idx = query_idx[own]
    weight, weights = plan.options.weight_image, plan.options.weights or {}
    photos = embedded.layout.weighted(embedded.image[own_idx], weights)
    captions = embedded.layout.weighted(embedded.text[own_idx], weights)
    by_mode: dict[str, tuple[Tensor, Vectors, Vectors]] = {
        "image": (own, photos, image),
        "text": (own, captions, image),
        "fused": (own, Fused(photos, captions, weight), Fused(image, text, weight)),
    }
    found = {mode: by_mode[mode] for mode in modes}
    raw = embedded.text if gallery_is_all else embedded.text[gallery_idx]
    for name, judged in embedded.judged.items():
        own = torch.arange(part, len(judged), parts)
        queries = embedded.layout.weighted(judged[own.to(device)], weights)
        kind = plan.options.documents if plan.judged[name].name == "text" else "image"
        found[name] = (own, queries, documents(kind, image, raw, weight))
    return found


def ranked(
    search: Search,
    queries: Vectors,
    gallery: Vectors,
    k: int,
    excluded: Excluded | None,
    scored: int | None = None,
) -> Ranking:
    """Rank what a search ranks: the items of its gallery, or units by their best item.

    Args:
        search: the search, for its units.
        queries: the queries' embeddings, some or all of the search's.
        gallery: the embeddings of its N gallery items.
        k: the number of columns of the ranking.
        excluded: the gallery positions that are left out of these queries' rankings.
        scored: the number of first columns whose scores must be exact; None for all.
    """
    if search.units is None:
        return topk(queries, gallery, k, exclude=excluded, scored=scored)
    return topk_units(queries, gallery, k, search.units, exclude=excluded)


def _share(
    excluded: Excluded | None, part: int, parts: int, device: torch.device
) -> Excluded | None:
    """The exclusions of every `parts`-th query, renumbered among those queries."""
    if excluded is None:
        return None
    mine = excluded.queries % parts == part
    return Excluded((excluded.queries[mine] // parts).to(device), excluded.rows[mine].to(device))
