"""gallery.html: queries with their retrieved items, the model beside the baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.errors import ConfigError
from fashret.evaluation.embed import EvaluatedSystem
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.evaluation.split_search import MODES
from fashret.reports.atomic_write import write_text
from fashret.reports.item_cards import item_facts, thumbnails
from fashret.reports.web import render
from fashret.tasks.base import NO_ROW
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The page of example queries (`report.gallery`).

    Args:
        queries: the number of queries over all modes, balanced over the categories.
        hits: the number of retrieved items shown for each query.
        modes: the query modes: image, text, fused.
        thumbnail: pixels of a photo's longer side, 16 to 512.
        seed: the seed of the choice of queries.
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
                f"thumbnail={self.thumbnail}: must be at least 1 query and 1 hit, "
                "thumbnails of 16 to 512 pixels"
            )
        unknown = [mode for mode in self.modes if mode not in MODES]
        if unknown or not self.modes:
            raise ConfigError(
                f"report.gallery.modes={list(self.modes)}: must be some of {', '.join(MODES)}"
            )

    def write(
        self, path: Path, table: ItemTable, systems: Sequence[EvaluatedSystem], title: str
    ) -> None:
        """Write the page.

        Args:
            path: the file to write.
            table: the items.
            systems: the model, and after it the baseline if there is one; evaluated by the same
                plan.
            title: the title of the page.
        """
        evaluation = systems[0].evaluation
        shared = [
            name
            for name in evaluation.rankings
            if all(name in system.evaluation.rankings for system in systems)
        ]
        chosen = self.chosen(evaluation, table, shared)
        index = {row: i for i, row in enumerate(_rows(chosen, systems, self.hits))}
        texts = table.column("text")
        queries: list[dict[str, Any]] = []
        for name, positions in chosen.items():
            search, tasks = evaluation.plan.searches[name], _tasks(evaluation, name)
            hits = [_hits(positions, name, system, index, self.hits) for system in systems]
            for position, *by_system in zip(positions.tolist(), *hits, strict=True):
                row = int(search.query_rows[position])
                known = [
                    label for label, task in tasks.items() if _counts(evaluation, task, position)
                ]
                text = (
                    texts[row] or "" if search.query_names is None else search.query_names[position]
                )
                queries.append(
                    {
                        "item": None if row == NO_ROW else index[row],
                        "photo": row != NO_ROW and name != "text",
                        "text": f"\u201c{text}\u201d" if row == NO_ROW or name == "text" else text,
                        "mode": name,
                        "known": known,
                        "found": by_system,
                    }
                )
        labels = [label for name in chosen for label in _tasks(evaluation, name)]
        data = {
            "systems": [system.name for system in systems],
            "relevances": sorted(set(labels), key=_order(evaluation, labels)),
            "items": item_facts(table, list(index)),
            "queries": queries,
        }
        photos = thumbnails(table, list(index), self.thumbnail)
        write_text(path, render("gallery.html", title=title, data=data, photos=photos))

    def chosen(
        self, evaluation: Evaluation, table: ItemTable, ranked: Sequence[str]
    ) -> Mapping[str, NDArray[np.int64]]:
        """Choose queries of each search, round-robin over categories, worst categories first.

        Args:
            evaluation: the evaluation of the model.
            table: the items.
            ranked: the searches that all systems have; those of `modes`, or all if none is.

        Returns:
            The positions of the queries, by search.
        """
        plan = evaluation.plan
        wanted = [name for name in ranked if name in self.modes or name not in MODES]
        names = wanted or list(ranked)
        category = table.codes("category")[0]
        rng = np.random.default_rng(self.seed)
        share = -(-self.queries // max(1, len(names)))
        chosen = {}
        for name in names:
            rows = plan.searches[name].query_rows
            codes = np.where(rows == NO_ROW, UNKNOWN, category[rows])
            tasks = _tasks(evaluation, name)
            task = tasks.get("category", next(iter(tasks.values())))
            right = evaluation.hits(task).double().mean(dim=1).numpy()
            members = [rng.permutation(np.flatnonzero(codes == c)) for c in np.unique(codes)]
            members.sort(key=lambda positions: float(right[positions].mean()))
            turns = np.concatenate([np.arange(len(positions)) for positions in members])
            whose = np.repeat(np.arange(len(members)), [len(p) for p in members])
            taken = np.lexsort((whose, turns))[:share]  # one of each in turn
            taken = taken[np.lexsort((turns[taken], whose[taken]))]
            chosen[name] = np.concatenate(members)[taken]
        return chosen


def _tasks(evaluation: Evaluation, search: str) -> dict[str, str]:
    """The tasks of a search by their labels on the page: the relevance, or the task's name."""
    names = [task.name for task in evaluation.plan.tasks if task.search == search]
    return {name.removeprefix(f"{search}/"): name for name in names}


def _order(evaluation: Evaluation, labels: Sequence[str]) -> Callable[[str], int]:
    """The sort key of labels: in the order of text queries, which have all labels of a split."""
    first = list(_tasks(evaluation, "text"))
    return lambda label: first.index(label) if label in first else len(first) + labels.index(label)


def _counts(evaluation: Evaluation, task: str, position: int) -> bool:
    """Whether a query of a task has a relevant item."""
    return bool(evaluation.results_by_task[task].judgment.num_relevant[position] > 0)


def _rows(
    chosen: Mapping[str, NDArray[np.int64]], systems: Sequence[EvaluatedSystem], hits: int
) -> list[int]:
    """The rows of the table that the page shows, each once."""
    searches = systems[0].evaluation.plan.searches
    rows = [searches[name].query_rows[positions] for name, positions in chosen.items()]
    for system in systems:
        for name, positions in chosen.items():
            ranked = system.evaluation.rankings[name].rows[torch.from_numpy(positions), :hits]
            rows.append(searches[name].gallery_rows[ranked[ranked >= 0].numpy()])
    together = np.unique(np.concatenate(rows))
    return [int(row) for row in together if row != NO_ROW]


def _hits(
    chosen: NDArray[np.int64],
    name: str,
    system: EvaluatedSystem,
    index: Mapping[int, int],
    hits: int,
) -> list[list[list[Any]]]:
    """The hits of each query: item, score, similarity of photos and of texts, relevances."""
    evaluation = system.evaluation
    search, ranking = evaluation.plan.searches[name], evaluation.rankings[name]
    positions = torch.from_numpy(chosen)
    ranked = ranking.rows[positions, :hits]
    rows = search.gallery_rows[ranked.clamp(min=0).numpy()]  # (Q, K) rows of the table
    parts = _similarities(system, search.query_rows[chosen], rows)
    scores = ranking.scores[positions, :hits].tolist()
    relevant = {
        label: evaluation.hits(task)[positions] for label, task in _tasks(evaluation, name).items()
    }
    return [
        [
            [
                index[int(rows[q, k])],
                round(scores[q][k], 3),
                *(None if part[q][k] != part[q][k] else round(part[q][k], 3) for part in parts),
                [label for label, hit in relevant.items() if k < hit.shape[1] and hit[q, k]],
            ]
            for k in range(int((ranked[q] >= 0).sum()))
        ]
        for q in range(len(chosen))
    ]


def _similarities(
    system: EvaluatedSystem, queries: NDArray[np.int64], retrieved: NDArray[np.int64]
) -> list[list[list[float]]]:
    """(Q, K) cosine similarities of photos and of texts; NaN for a typed query."""
    typed = queries == NO_ROW
    query_idx = np.searchsorted(system.rows, np.where(typed, system.rows[0], queries))
    item_idx = np.searchsorted(system.rows, retrieved)
    parts = []
    for vectors in (system.embedded.image, system.embedded.completed_text):
        cosines = _cosines(vectors, system.embedded, query_idx, item_idx)
        cosines[torch.from_numpy(typed)] = torch.nan
        parts.append(cosines.tolist())
    return parts


def _cosines(
    vectors: Tensor,
    embedded: SplitEmbeddings,
    query_idx: NDArray[np.int64],
    item_idx: NDArray[np.int64],
) -> Tensor:
    """(Q, K) cosines of the general embeddings of queries and hits; NaN where one is zero."""
    queries = embedded.layout.block(vectors[torch.from_numpy(query_idx)])
    items = embedded.layout.block(vectors[torch.from_numpy(item_idx.ravel())])
    items = items.view(*item_idx.shape, -1)
    norms = queries.norm(dim=1)[:, None] * items.norm(dim=2)
    products: Tensor = torch.einsum("qd,qkd->qk", queries, items)
    cosines: Tensor = products / norms
    return cosines
