"""One table row of a protocol: queries, what they search, what is right, and what is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fashret.functional.bootstrap import (
    interval,
    mean_interval,
    resampled_means,
    two_sided_p,
    widen_equal_values,
)
from fashret.functional.full_ranking import WHOLE, whole_rankings
from fashret.functional.relevance import Relevance, all_rows
from fashret.functional.retrieval import METRICS, ceiling, chance, graded_ndcg
from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded, Ranking, topk


@dataclass(frozen=True)
class Task:
    """Queries and documents of one kind.

    Attributes:
        name: as the protocol calls it.
        queries: (Q, D).
        documents: N rows of D floats.
        query_names: of the queries, for the table of what each found.
        document_names: of the documents.
        relevance: what is right.
        metrics: such as hit@10 or ndcg@5; map and rprecision are of the whole ranking.
        excluded: documents that single queries must not find.
        units: (Q,) queries that are one unit for intervals, UNKNOWN for one of its own.
        zero_without_answer: a query without a right answer counts as 0; else it does not count.
        notes: what is to be known of it.
    """

    name: str
    queries: Tensor
    documents: Vectors
    query_names: Sequence[str]
    document_names: Sequence[str]
    relevance: Relevance
    metrics: Sequence[str]
    excluded: Excluded | None = None
    units: Tensor | None = None
    zero_without_answer: bool = False
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        task: what was asked.
        ranking: the first k of each query.
        gains: (Q, k) how right each of them is.
        columns: (Q,) float64 by metric, NaN where a query does not count.
        relevant: (Q,) right answers there were.
    """

    task: Task
    ranking: Ranking
    gains: Tensor
    columns: Mapping[str, Tensor]
    relevant: Tensor

    @classmethod
    def of(cls, task: Task) -> "Outcome":
        """Search and judge."""
        ks = [int(metric.split("@")[1]) for metric in task.metrics if "@" in metric]
        k = max(ks, default=1)
        ranking = topk(task.queries, task.documents, k, exclude=task.excluded)
        ranking = Ranking(ranking.rows.cpu(), ranking.scores.cpu())
        queries = torch.arange(len(task.queries))
        gains = task.relevance.gains(queries, ranking.rows).masked_fill(ranking.rows < 0, 0.0)
        relevant, ideal = task.relevance.ideal(k)
        if task.excluded is not None:
            barred = Excluded(task.excluded.queries.cpu(), task.excluded.rows.cpu())
            lost = task.relevance.gains(barred.queries, barred.rows[:, None])[:, 0] >= 1.0
            relevant = relevant.index_add(0, barred.queries, lost.long(), alpha=-1)
            ideal = torch.minimum(ideal, (torch.arange(k) < relevant[:, None]).double())
        whole: dict[str, Tensor] = {}
        if any(metric in WHOLE for metric in task.metrics):
            right = all_rows(task.relevance, len(task.documents))
            whole = whole_rankings(task.queries.cpu(), task.documents, right, task.excluded)
        hits = gains >= 1.0
        columns = {}
        for metric in task.metrics:
            name, _, cut = metric.partition("@")
            if not cut:
                values = whole[name]
            elif name == "ndcg":
                values = graded_ndcg(gains, ideal, int(cut))
            else:
                values = METRICS[name](hits, relevant, int(cut))
            missing = 0.0 if task.zero_without_answer else torch.nan
            columns[metric] = torch.where(relevant > 0, values, missing)
        return cls(task, ranking, gains, columns, relevant)

    def means(self) -> dict[str, float]:
        """The mean of each metric; NaN where no query counts."""
        return {name: float(values.nanmean()) for name, values in self.columns.items()}

    def results(self, *, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
        """Each metric with its interval, n, ceiling and chance."""
        table = torch.stack(list(self.columns.values()), dim=1)
        low, high = mean_interval(table, self.units, resamples=resamples, seed=seed)
        ranked = torch.full_like(self.relevant, len(self.task.documents))
        if self.task.excluded is not None:
            out = self.task.excluded.queries.cpu()
            ranked = ranked.index_add(0, out, torch.ones_like(out), alpha=-1)
        found = {}
        for i, (metric, values) in enumerate(self.columns.items()):
            name, _, cut = metric.partition("@")
            binary = cut and (name != "ndcg" or bool(((self.gains == 0) | (self.gains == 1)).all()))
            found[metric] = {
                "value": _number(values.nanmean()),
                "low": _number(low[i]),
                "high": _number(high[i]),
                "n": int((~values.isnan()).sum()),
                "ceiling": _number(ceiling(name, self.relevant, int(cut)).nanmean())
                if binary
                else None,
                "chance": _number(chance(name, self.relevant, ranked, int(cut)).nanmean())
                if binary
                else None,
            }
        return found

    def against(
        self, other: "Outcome", *, resamples: int, seed: int
    ) -> dict[str, tuple[float, float, float]]:
        """Low and high of the difference of each metric to another system's, and its p."""
        table = torch.stack([self.columns[m] - other.columns[m] for m in self.columns], dim=1)
        means = resampled_means(table, self.units, resamples=resamples, seed=seed)
        bounds = interval(means)
        if not torch.equal(self.ranking.rows, other.ranking.rows):
            factors = torch.ones(len(self.columns))
            bounds = widen_equal_values(bounds, table, self.units, factors, paired=True)
        (low, high), p = bounds.tolist(), two_sided_p(means).tolist()
        return dict(zip(self.columns, zip(low, high, p, strict=True), strict=True))

    @property
    def units(self) -> Tensor:
        """(Q,) which queries are one unit."""
        alone = torch.full((len(self.task.queries),), -1)
        return alone if self.task.units is None else self.task.units


def _number(value: Tensor | float) -> float | None:
    number = float(value)
    return None if number != number else number
