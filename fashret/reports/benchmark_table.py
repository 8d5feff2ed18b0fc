"""The result table of a published benchmark, on the screen and as files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from fashret.data.items import ItemTable
from fashret.evaluation.benchmarks.base import BenchmarkPlan
from fashret.evaluation.comparison import compare
from fashret.evaluation.evaluator import Evaluation, TaskResult
from fashret.reports.atomic_write import write_text
from fashret.reports.screen import show_table

FORMAT = 1

Table = tuple[list[str], list[list[str]]]
"""The header and the rows of a table."""


def benchmark_plan(evaluation: Evaluation) -> BenchmarkPlan:
    """Return the plan of an evaluation that is known to be of a benchmark."""
    assert isinstance(evaluation.plan, BenchmarkPlan)
    return evaluation.plan


def benchmark_table(evaluation: Evaluation) -> Table:
    """Make the table of a benchmark as papers print it: one row per task, in points (0 to 100)."""
    benchmark = benchmark_plan(evaluation).benchmark
    results = list(evaluation.results_by_task.values())
    metrics = list(dict.fromkeys(metric for result in results for metric in result.columns))
    averages = {
        name: parts for name, parts in benchmark.averages.items() if set(parts) <= set(metrics)
    }
    names = [*averages, *metrics]

    def line(name: str, means: Mapping[str, float], sizes: Sequence[str]) -> list[str]:
        values = dict(means)
        for average, parts in averages.items():
            if set(parts) <= set(means):
                values[average] = sum(means[part] for part in parts) / len(parts)
        return [name, *(_points(values.get(metric)) for metric in names), *sizes]

    rows = []
    for result in results:
        search = evaluation.plan.searches[result.task.search]
        sizes = [str(len(search.query_rows)), str(len(search.gallery_rows))]
        rows.append(line(result.task.name, result.means(), sizes))
    for name, means in benchmark.summary(results).items():
        rows.append(line(name, means, ["", ""]))
    return ["", *names, "queries", "searched"], rows


def comparison_table(evaluation: Evaluation, baseline: Evaluation) -> Table:
    """Make the table that compares two systems: baseline, value, delta, interval, p."""
    keys = list(evaluation.columns)
    changes = compare(evaluation, baseline, keys)
    before, after = baseline.means(), evaluation.means()
    rows = []
    for key in keys:
        task, _, metric = key.removeprefix(f"{evaluation.plan.prefix}/").rpartition("/")
        change = changes[key]
        rows.append(
            [
                f"{task} {metric}",
                _points(before[key]),
                _points(after[key]),
                f"{100 * (after[key] - before[key]):+.1f}",
                f"{100 * change.low:+.1f} to {100 * change.high:+.1f}",
                "<0.001" if change.p < 0.001 else f"{change.p:.4f}",
            ]
        )
    return ["", "baseline", "value", "delta", "interval", "p"], rows


def show_benchmark(
    evaluation: Evaluation, title: str, notes: Sequence[str], screen: Console
) -> None:
    """Print the table of a benchmark on the screen.

    Args:
        evaluation: the evaluation of the benchmark.
        title: the title of the table.
        notes: notes below the table.
        screen: the console to print on.
    """
    screen.print(Text(title, overflow="fold"))
    show_table(screen, *benchmark_table(evaluation))
    for note in notes:
        screen.print(Text(f"note: {note}", overflow="fold"))


def write_benchmark(
    folder: Path,
    title: str,
    evaluation: Evaluation,
    baseline: Evaluation | None,
    results: Mapping[str, Mapping[str, Any]],
    table: ItemTable,
    *,
    model: str,
    data: str,
    catalog: Path,
    encoder: Mapping[str, Any],
    notes: Sequence[str],
    latency: Mapping[str, Any] | None = None,
) -> None:
    """Write protocol.md, metrics.json and per_query_results.parquet.

    Args:
        folder: the folder to write to.
        title: the title of the table.
        evaluation: the evaluation of the system.
        baseline: the evaluation of the baseline; None for none.
        results: the metrics of the evaluation, by key.
        table: the items.
        model: the label of the model.
        data: the name of the data set.
        catalog: the folder of the embeddings.
        encoder: the identity of the encoder and its preprocessing.
        notes: notes for the reader of the numbers.
        latency: the latency of single queries in milliseconds; None if not measured.
    """
    plan = benchmark_plan(evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}", "", "In points.", "", *_markdown(*benchmark_table(evaluation))]
    if baseline is not None:
        compared = comparison_table(evaluation, baseline)
        parts += ["", "## Against the baseline", "", *_markdown(*compared)]
    parts += ["", *(f"- {note}" for note in notes)]
    write_text(folder / "protocol.md", "\n".join(parts).rstrip() + "\n")
    tasks = {
        name: _sizes(evaluation, result) for name, result in evaluation.results_by_task.items()
    }
    contents = {
        "format": FORMAT,
        "model": model,
        "data": data,
        "catalog": str(catalog.resolve()),
        "retrieval": plan.options.to_dict(),
        "protocol": {**plan.benchmark.identity(), "split": plan.split, "tasks": tasks, **encoder},
        "notes": list(notes),
        "latency": latency,
        "metrics": results,
    }
    text = json.dumps(contents, indent=1, allow_nan=False, default=str)
    write_text(folder / "metrics.json", text + "\n")
    path = folder / "per_query_results.parquet"
    partial = path.with_suffix(".partial")
    ids = table.column("item_id")
    frames = [_retrieved(evaluation, result, ids) for result in evaluation.results_by_task.values()]
    pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)
    os.replace(partial, path)


def _sizes(evaluation: Evaluation, result: TaskResult) -> dict[str, int]:
    search = evaluation.plan.searches[result.task.search]
    return {
        "queries": len(search.query_rows),
        "gallery": len(search.gallery_rows),
        "excluded": 0 if search.excluded is None else len(search.excluded.queries),
        "without_relevant_item": int((result.judgment.num_relevant <= 0).sum()),
    }


def _retrieved(evaluation: Evaluation, result: TaskResult, ids: Sequence[str]) -> pd.DataFrame:
    """The ranking of each query of a task, as a data frame."""
    search = evaluation.plan.searches[result.task.search]
    ranking = evaluation.rankings[result.task.search]
    rows = ranking.rows.tolist()
    lengths = [sum(row >= 0 for row in ranked) for ranked in rows]
    gains = result.judgment.gains
    gains = result.judgment.hits.double() if gains is None else gains

    def cut(values: list[list[float]]) -> list[list[float]]:
        return [ranked[:n] for ranked, n in zip(values, lengths, strict=True)]

    return pd.DataFrame(
        {
            "query_id": list(search.query_names or (ids[row] for row in search.query_rows)),
            "mode": result.task.name,
            "retrieved_ids": [
                [ids[search.gallery_rows[row]] for row in ranked[:n]]
                for ranked, n in zip(rows, lengths, strict=True)
            ],
            "scores": cut(ranking.scores.tolist()),
            "gains": cut(gains.tolist()),
        }
    )


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _points(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.2f}"
