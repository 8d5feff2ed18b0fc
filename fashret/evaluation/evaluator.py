"""Compute every metric of an evaluation from its rankings, by the keys of docs/metrics.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fashret.evaluation.intervals import MACRO, variance_factors
from fashret.evaluation.judgments import Judgment, relevance_judgments
from fashret.evaluation.plan import Plan, task_of
from fashret.functional.bootstrap import (
    inflate_variance,
    percentile_interval,
    resampled_means,
    widen_equal_values,
)
from fashret.functional.retrieval import (
    FURTHER_METRICS,
    METRICS,
    Metric,
    ceiling,
    chance,
    graded_ndcg,
)
from fashret.functional.topk import Ranking
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class Column:
    """The values of one metric for each query of a task.

    Attributes:
        values: (Q,) float64, 0 to 1; NaN for a query that does not count.
        ceiling: (Q,) float64, the value of an ideal ranking; NaN where that is not known.
        chance: (Q,) float64, the expected value of a random ranking; NaN where not known.
    """

    values: Tensor
    ceiling: Tensor
    chance: Tensor


@dataclass(frozen=True)
class TaskResult:
    """The metrics of one task.

    Attributes:
        task: the queries' ground truth and the metrics to compute.
        judgment: the relevance judgments of the ranked items.
        columns: the per-query values by metric name, such as hit@10.
    """

    task: Task
    judgment: Judgment
    columns: Mapping[str, Column]

    def means(self) -> dict[str, float]:
        """The mean of each metric over its queries; NaN where no query counts."""
        return {name: float(column.values.nanmean()) for name, column in self.columns.items()}


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation: of a split's scoreboard, or of a published benchmark.

    Attributes:
        plan: the searches and tasks that were evaluated.
        rankings: the ranking of each search, (Q, k) gallery positions for the largest k.
        results_by_task: the metrics of each task, by task name.
        lists: (Q, L) gallery positions by search, deeper than the largest k where intervals need
            it (`intervals.list_depth`).
    """

    plan: Plan
    rankings: Mapping[str, Ranking]
    results_by_task: Mapping[str, TaskResult]
    lists: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_rankings(
        cls,
        plan: Plan,
        rankings: Mapping[str, Ranking],
        full_rankings: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> "Evaluation":
        """Compute every metric of the tasks whose rankings are given.

        Args:
            plan: the searches and tasks.
            rankings: the ranking of each search, at least as deep as the largest k.
            full_rankings: by task, the (Q,) values of its metrics over the full ranking.
        """
        kept: dict[str, Ranking] = {}
        results: dict[str, TaskResult] = {}
        for task in plan.tasks:
            if task.search not in rankings:
                continue
            k = max((cut_off(metric) or 1 for metric in task.metrics), default=1)
            ranking = rankings[task.search]
            cut = Ranking(ranking.rows[:, :k], ranking.scores[:, :k])
            if task.search not in kept or kept[task.search].rows.shape[1] < k:
                kept[task.search] = cut
            judgment = relevance_judgments(task, plan.searches[task.search], cut.rows)
            columns = _columns(
                task, judgment, plan.options.metrics, (full_rankings or {}).get(task.name)
            )
            results[task.name] = TaskResult(task, judgment, columns)
        return cls(plan, kept, results, {name: ranking.rows for name, ranking in rankings.items()})

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The per-query values of every metric by key, without slices."""
        return {
            f"{self.plan.prefix}/{name}/{metric}": column
            for name, result in self.results_by_task.items()
            for metric, column in result.columns.items()
        }

    @cached_property
    def slices(self) -> Mapping[str, tuple[Tensor, list[str]]]:
        """The (Q,) codes of the queries and the values, for each key that is sliced by value."""
        sliced = self.plan.options.slice_metrics
        return {
            f"{self.plan.prefix}/{name}/{metric}": result.task.values
            for name, result in self.results_by_task.items()
            for metric in result.columns
            if result.task.values is not None
            and metric.split("@")[0] in (*sliced, *result.task.sliced)
        }

    def hits(self, task: str) -> Tensor:
        """Return (Q, K) bool: whether each ranked item of a task (by name) is relevant."""
        return self.results_by_task[task].judgment.hits

    def search(self, key: str) -> Search:
        """Return the search that the metric of a key is computed on."""
        return self.plan.searches[self.results_by_task[task_of(self.plan, key)[0]].task.search]

    def means(self) -> dict[str, float]:
        """Return the mean of every metric, slice and macro mean by key; NaN if no query counts."""
        means: dict[str, float] = {}
        for key, column in self.columns.items():
            means[key] = float(column.values.nanmean())
            if key in self.slices:
                by_value = _slice_means(column.values, *self.slices[key])
                means |= {f"{key}[{value}]": mean for value, mean in by_value.items()}
                known = [mean for mean in by_value.values() if mean == mean]
                means[f"{key}[{MACRO}]"] = sum(known) / len(known) if known else float("nan")
        return means

    def results(self, keys: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return each metric with its 95 % interval, n, ceiling and chance, as in metrics.json.

        Args:
            keys: keys of metrics and slices; None for all, macro means included.
        """
        means = self.means()  # the values: those of a training log, to the last digit
        wanted = {key: part for key, part in self._parts() if keys is None or key in keys}
        effects = variance_factors(self.plan, [self.lists], list(wanted))
        bounds: dict[str, tuple[Tensor, Tensor]] = {}
        for names in keys_by_queries(self, list(wanted)):
            table = torch.stack([wanted[name].values for name in names], dim=1)  # (Q, C)
            groups = self.search(names[0]).groups
            options = self.plan.options
            drawn = resampled_means(table, groups, resamples=options.resamples, seed=options.seed)
            factors = torch.tensor([effects[name] for name in names], dtype=torch.float64)
            centre = torch.tensor([means[name] for name in names], dtype=torch.float64)
            ends = percentile_interval(inflate_variance(drawn, centre, factors)).clamp(0.0, 1.0)
            low, high = widen_equal_values(ends, table, groups, factors)
            bounds |= {name: (low[i], high[i]) for i, name in enumerate(names)}
        results = {
            name: {
                "value": _number(means[name]),
                "low": _number(bounds[name][0]),
                "high": _number(bounds[name][1]),
                "n": int((~part.values.isnan()).sum()),
                "ceiling": _number(part.ceiling.nanmean()),
                "chance": _number(part.chance.nanmean()),
            }
            for name, part in wanted.items()
        }
        return self._with_macro(results) if keys is None else results

    def unanswerable(self) -> dict[str, int]:
        """Count the queries with known ground truth but no relevant gallery item, by task."""
        return {
            name: int((result.judgment.known & (result.judgment.num_relevant <= 0)).sum())
            for name, result in self.results_by_task.items()
        }

    def _parts(self) -> list[tuple[str, Column]]:
        """Every column and the slices of it, with their keys."""
        parts = []
        for key, column in self.columns.items():
            parts.append((key, column))
            if key not in self.slices:
                continue
            codes, values = self.slices[key]
            for code, value in enumerate(values):
                inside = torch.eq(codes, code)
                masked = [
                    torch.where(inside, t, torch.nan)
                    for t in (column.values, column.ceiling, column.chance)
                ]
                parts.append((f"{key}[{value}]", Column(*masked)))
        return parts

    def _with_macro(self, results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Add the mean over the values of each sliced metric; its n is the number of values."""
        for key, (_, values) in self.slices.items():
            of_values = [results[f"{key}[{value}]"] for value in values]
            counted = [result for result in of_values if result["n"]]
            mean = {}
            for name in ("value", "ceiling", "chance"):
                known = [result[name] for result in counted if result[name] is not None]
                mean[name] = sum(known) / len(known) if known else None
            results[f"{key}[{MACRO}]"] = {
                "value": mean["value"],
                "low": None,
                "high": None,
                "n": len(counted),
                "ceiling": mean["ceiling"],
                "chance": mean["chance"],
            }
        return results


def keys_by_queries(evaluation: Evaluation, keys: Sequence[str]) -> list[list[str]]:
    """Group keys by the queries that they count: one matrix of resamples serves each group."""
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(id(evaluation.search(key).query_rows), []).append(key)
    return list(groups.values())


def cut_off(metric: str) -> int | None:
    """Return the k of a metric's name; None for a metric of the full ranking."""
    _, _, k = metric.partition("@")
    return int(k) if k else None


def _columns(
    task: Task,
    judgment: Judgment,
    user_metrics: Mapping[str, Metric],
    full_ranking: Mapping[str, Tensor] | None,
) -> dict[str, Column]:
    """Compute every metric of a task; queries with equal counts share their ceiling and chance."""
    relevant, ranked = judgment.num_relevant, judgment.num_ranked
    distinct, inverse = torch.stack([relevant, ranked], dim=1).unique(dim=0, return_inverse=True)
    unknown = torch.full(relevant.shape, torch.nan, dtype=torch.float64)
    gains, ideal = judgment.gains, judgment.ideal
    graded = any(
        bool(((part != 0) & (part != 1)).any()) for part in (gains, ideal) if part is not None
    )
    functions = {**user_metrics, **FURTHER_METRICS, **METRICS}
    columns = {}
    for metric in task.metrics:
        name, k = metric.partition("@")[0], cut_off(metric)
        if k is None:
            assert full_ranking is not None, f"{metric} needs the full ranking"
            values = full_ranking[name]
        elif name == "ndcg" and gains is not None:
            assert ideal is not None
            values = graded_ndcg(gains, ideal, k)
        else:
            function = functions[name]
            values = function(judgment.hits, relevant, k)
        missing = 0.0 if task.zero_without_answer else torch.nan
        values = torch.where(relevant > 0, values, missing)
        if name == "ndcg" and graded:  # an ideal ranking has 1; chance depends on the grades
            columns[metric] = Column(values, torch.where(relevant > 0, 1.0, torch.nan), unknown)
        elif k is None or name not in METRICS:
            columns[metric] = Column(values, unknown, unknown)
        else:
            top = ceiling(name, distinct[:, 0], k)[inverse]
            expected = chance(name, distinct[:, 0], distinct[:, 1], k)[inverse]
            columns[metric] = Column(values, top, expected)
    return columns


def _slice_means(values: Tensor, codes: Tensor, names: list[str]) -> dict[str, float]:
    """The mean over the queries of each value, by value."""
    counted = ~values.isnan() & (codes != UNKNOWN)
    totals = torch.zeros(len(names), dtype=torch.float64)
    numbers = torch.zeros(len(names), dtype=torch.float64)
    totals.index_add_(0, codes[counted], values[counted])
    numbers.index_add_(0, codes[counted], torch.ones_like(values[counted]))
    return dict(zip(names, (totals / numbers).tolist(), strict=True))


def _number(value: Tensor | float) -> float | None:
    """A float that JSON can hold: NaN becomes null."""
    number = float(value)
    return None if number != number else number
