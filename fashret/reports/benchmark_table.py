"""The table of an official protocol, on the screen and as files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from fashret.data.splits import SPLITS
from fashret.evaluation.benchmarks.base import OfficialProtocol
from fashret.evaluation.split_search import KEY_NAMES
from fashret.reports.files import write_text
from fashret.reports.screen import show_table
from fashret.tasks.base import Outcome

FORMAT = 1


class OfficialTable:
    """What a protocol gave, and what it gave another system.

    Args:
        protocol: which.
        outcomes: of the system, a task each.
        baseline: of the other, likewise; None if it stands alone.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        notes: what is to be known of the data.
    """

    def __init__(
        self,
        protocol: OfficialProtocol,
        outcomes: Sequence[Outcome],
        baseline: Sequence[Outcome] | None,
        *,
        resamples: int,
        seed: int,
        notes: Sequence[str] = (),
    ) -> None:
        self.protocol = protocol
        self.outcomes = outcomes
        self.baseline = baseline
        self.bootstrap = {"resamples": resamples, "seed": seed}
        self.notes = [*notes, *(note for outcome in outcomes for note in outcome.task.notes)]
        self.results = {o.task.name: o.results(resamples=resamples, seed=seed) for o in outcomes}

    @property
    def prefix(self) -> str:
        """What keys begin with."""
        split = self.protocol.split
        return f"{KEY_NAMES[split] if split in SPLITS else 'all'}/{self.protocol.name}"

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The header and the rows as papers print them, in points."""
        metrics = list(dict.fromkeys(m for o in self.outcomes for m in o.columns))
        averages = {
            name: parts
            for name, parts in self.protocol.averages.items()
            if set(parts) <= set(metrics)
        }
        names = [*averages, *metrics]

        def line(name: str, means: Mapping[str, float], sizes: Sequence[str]) -> list[str]:
            found = dict(means)
            for average, parts in averages.items():
                if set(parts) <= set(means):
                    found[average] = sum(means[part] for part in parts) / len(parts)
            return [name, *(_points(found.get(metric)) for metric in names), *sizes]

        rows = [
            line(o.task.name, o.means(), [str(len(o.relevant)), str(len(o.task.documents))])
            for o in self.outcomes
        ]
        for name, means in self.protocol.summary(self.outcomes).items():
            rows.append(line(name, means, ["", ""]))
        return ["", *names, "queries", "searched"], rows

    def compared(self) -> tuple[list[str], list[list[str]]]:
        """The header and the rows of the comparison: baseline, value, delta, interval, p."""
        rows = []
        for outcome, other in zip(self.outcomes, self.baseline or (), strict=True):
            before, after = other.means(), outcome.means()
            for metric, (low, high, p) in outcome.against(other, **self.bootstrap).items():
                rows.append(
                    [
                        f"{outcome.task.name} {metric}",
                        _points(before[metric]),
                        _points(after[metric]),
                        f"{100 * (after[metric] - before[metric]):+.1f}",
                        f"{100 * low:+.1f} to {100 * high:+.1f}",
                        "<0.001" if p < 0.001 else f"{p:.4f}",
                    ]
                )
        return ["", "baseline", "value", "delta", "interval", "p"], rows

    def show(self, console: Console, title: str) -> None:
        """The tables on the screen."""
        console.print(Text(title, overflow="fold"))
        show_table(console, *self.rows())
        if self.baseline is not None:
            console.print("against the baseline")
            show_table(console, *self.compared())
        for note in self.notes:
            console.print(Text(f"note: {note}", overflow="fold"))

    def write(
        self,
        folder: Path,
        title: str,
        *,
        model: str,
        data: str,
        catalog: Path,
        encoder: Mapping[str, Any],
    ) -> None:
        """Write protocol.md, metrics.json and per_query_results.parquet.

        Args:
            folder: where to.
            title: of the table.
            model: its label.
            data: its name.
            catalog: the folder of the embeddings.
            encoder: its identity, and how photos were prepared.
        """
        folder.mkdir(parents=True, exist_ok=True)
        parts = [f"# {title}", "", "In points.", "", *_markdown(*self.rows())]
        if self.baseline is not None:
            parts += ["", "## Against the baseline", "", *_markdown(*self.compared())]
        parts += ["", *(f"- {note}" for note in self.notes)]
        write_text(folder / "protocol.md", "\n".join(parts).rstrip() + "\n")
        metrics = {
            f"{self.prefix}/{task}/{metric}": result
            for task, found in self.results.items()
            for metric, result in found.items()
        }
        tasks = {
            o.task.name: {
                "queries": len(o.relevant),
                "gallery": len(o.task.documents),
                "excluded": 0 if o.task.excluded is None else len(o.task.excluded.queries),
                "without_relevant_item": int((o.relevant == 0).sum()),
            }
            for o in self.outcomes
        }
        held = {
            "format": FORMAT,
            "model": model,
            "data": data,
            "catalog": str(catalog.resolve()),
            "protocol": {**self.protocol.identity(), "tasks": tasks, **encoder},
            "notes": self.notes,
            "metrics": metrics,
        }
        text = json.dumps(held, indent=1, allow_nan=False, default=str)
        write_text(folder / "metrics.json", text + "\n")
        path = folder / "per_query_results.parquet"
        partial = path.with_suffix(".partial")
        pd.concat([_found(o) for o in self.outcomes], ignore_index=True).to_parquet(
            partial, index=False
        )
        os.replace(partial, path)


def _found(outcome: Outcome) -> pd.DataFrame:
    """What each query of a task found."""
    names, task = outcome.task.document_names, outcome.task
    rows = outcome.ranking.rows.tolist()
    lengths = [sum(row >= 0 for row in found) for found in rows]

    def cut(table: list[list[float]]) -> list[list[float]]:
        return [found[:n] for found, n in zip(table, lengths, strict=True)]

    return pd.DataFrame(
        {
            "query_id": list(task.query_names),
            "mode": task.name,
            "retrieved_ids": [
                [names[row] for row in found[:n]] for found, n in zip(rows, lengths, strict=True)
            ],
            "scores": cut(outcome.ranking.scores.tolist()),
            "gains": cut(outcome.gains.tolist()),
        }
    )


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _points(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.2f}"
