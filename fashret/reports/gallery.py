"""gallery.html: queries and what they found, the baseline beside the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.errors import ConfigError
from fashret.evaluation.embed import Judged
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.ranking import Embedded
from fashret.evaluation.split_search import KEY_NAMES, MODES
from fashret.reports.files import write_text
from fashret.reports.item_cards import item_facts, thumbnails
from fashret.reports.web import render


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """How many queries are shown, and how.

    Args:
        queries: shown, over all modes; as many of each category as of any other.
        hits: shown of each.
        modes: what queries are made of: image, text, fused.
        thumbnail: pixels of a photo's longer side.
        seed: of the choice.
    """

    queries: int
    hits: int
    modes: Sequence[str]
    thumbnail: int
    seed: int

    def __post_init__(self) -> None:
        if min(self.queries, self.hits) < 1 or not 16 <= self.thumbnail <= 512:
            raise ConfigError(
                f"report.gallery: queries={self.queries} hits={self.hits} "
                f"thumbnail={self.thumbnail}: at least 1 query and 1 hit, "
                "thumbnails of 16 to 512 pixels"
            )
        strange = [mode for mode in self.modes if mode not in MODES]
        if strange or not self.modes:
            raise ConfigError(
                f"report.gallery.modes={list(self.modes)}: some of {', '.join(MODES)}"
            )

    def write(self, path: Path, table: ItemTable, systems: Sequence[Judged], title: str) -> None:
        """Write the page, whole or not at all.

        Args:
            path: of the file.
            table: the items.
            systems: the model, and after it what it is compared with, if anything; of one
                protocol.
            title: of the page.
        """
        judged = systems[0].evaluation
        shown = self.shown(judged)
        places = {row: place for place, row in enumerate(_rows(shown, systems, self.hits))}
        queries: list[dict[str, Any]] = []
        for mode, chosen in shown.items():
            counted = _counted(judged, mode)
            found = [_found(chosen, mode, system, places, self.hits) for system in systems]
            queries += [
                {
                    "item": places[int(judged.protocol.queries[place])],
                    "mode": mode,
                    "known": [name for name, counts in counted.items() if counts[place]],
                    "found": list(of_systems),
                }
                for place, *of_systems in zip(chosen.tolist(), *found, strict=True)
            ]
        data = {
            "systems": [system.name for system in systems],
            "relevances": list(judged.protocol.relevances("text")),
            "items": item_facts(table, list(places)),
            "queries": queries,
        }
        photos = thumbnails(table, list(places), self.thumbnail)
        write_text(path, render("gallery.html", title=title, data=data, photos=photos))

    def shown(self, evaluation: Evaluation) -> Mapping[str, NDArray[np.int64]]:
        """The positions of the queries shown for each mode, those of weak categories first."""
        protocol = evaluation.protocol
        codes = protocol.relevance_codes("category")[0].numpy()
        rng = np.random.default_rng(self.seed)
        share = -(-self.queries // len(self.modes))
        chosen = {}
        for mode in self.modes:
            right = evaluation.hits[mode, "category"].double().mean(dim=1).numpy()
            members = [rng.permutation(np.flatnonzero(codes == c)) for c in np.unique(codes)]
            members.sort(key=lambda places: float(right[places].mean()))
            turns = np.concatenate([np.arange(len(places)) for places in members])
            whose = np.repeat(np.arange(len(members)), [len(places) for places in members])
            taken = np.lexsort((whose, turns))[:share]  # one of each in turn
            taken = taken[np.lexsort((turns[taken], whose[taken]))]
            chosen[mode] = np.concatenate(members)[taken]
        return chosen


def _rows(
    shown: Mapping[str, NDArray[np.int64]], systems: Sequence[Judged], hits: int
) -> list[int]:
    """Every row of the table that the page shows, once."""
    protocol = systems[0].evaluation.protocol
    rows = [protocol.queries[places] for places in shown.values()]
    for system in systems:
        for mode, places in shown.items():
            found = system.evaluation.rankings[mode].rows[torch.from_numpy(places), :hits].numpy()
            rows.append(protocol.catalog[found[found >= 0]])
    return [int(row) for row in np.unique(np.concatenate(rows))]


def _counted(evaluation: Evaluation, mode: str) -> Mapping[str, Tensor]:
    """By relevance whether each query of a mode counts, (Q,) bool."""
    first = f"hit@{evaluation.protocol.options.k[0]}"
    stem = f"{KEY_NAMES[evaluation.protocol.split]}/{mode}"
    return {
        name: ~evaluation.columns[f"{stem}/{name}/{first}"].values.isnan()
        for name in evaluation.protocol.relevances(mode)
    }


def _found(
    chosen: NDArray[np.int64], mode: str, system: Judged, places: Mapping[int, int], hits: int
) -> list[list[list[Any]]]:
    """The hits of each query: item, score, likeness of photos and of texts, what matches."""
    _, evaluation, embedded = system
    protocol, ranking = evaluation.protocol, evaluation.rankings[mode]
    asked = torch.from_numpy(chosen)
    ranked = ranking.rows[asked, :hits]
    rows = protocol.catalog[ranked.clamp(min=0).numpy()]  # (Q, K) rows of the table
    at = np.searchsorted(protocol.rows, protocol.queries[chosen])
    others = np.searchsorted(protocol.rows, rows)
    parts = [
        _cosines(vectors, embedded, at, others)
        for vectors in (embedded.image, embedded.completed_text)
    ]
    scores = ranking.scores[asked, :hits].tolist()
    right = {name: evaluation.hits[mode, name][asked] for name in protocol.relevances(mode)}
    return [
        [
            [
                places[int(rows[q, k])],
                round(scores[q][k], 3),
                *(None if part[q][k] != part[q][k] else round(part[q][k], 3) for part in parts),
                [name for name, found in right.items() if found[q, k]],
            ]
            for k in range(int((ranked[q] >= 0).sum()))
        ]
        for q in range(len(chosen))
    ]


def _cosines(
    vectors: Tensor, embedded: Embedded, at: NDArray[np.int64], others: NDArray[np.int64]
) -> list[list[float]]:
    """(Q, K) cosines of the general blocks of queries and their hits; NaN where one is zero."""
    queries = embedded.layout.block(vectors[torch.from_numpy(at)])
    items = embedded.layout.block(vectors[torch.from_numpy(others.ravel())])
    items = items.view(*others.shape, -1)
    norms = queries.norm(dim=1)[:, None] * items.norm(dim=2)
    cosines: list[list[float]] = (torch.einsum("qd,qkd->qk", queries, items) / norms).tolist()
    return cosines
