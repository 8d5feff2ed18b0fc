"""report/index.html: the report of a run on one page, which opens from disk without a network."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fashret.evaluation.confusion import confusion
from fashret.evaluation.embed import EvaluatedSystem
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.pair_similarity import pair_similarities, sample_photo_pairs
from fashret.evaluation.split_search import SplitSearch
from fashret.reports.atomic_write import write_text
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.web import render, vendored
from fashret.version import __version__

_LIBRARIES = ("d3.min.js", "plot.umd.min.js")
_PACKAGES = ("torch", "open_clip_torch", "pytorch-lightning", "torchmetrics", "datasets")
_EDGES = np.linspace(-1.0, 1.0, 81)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The contents of the report page.

    Attributes:
        scoreboard: the scoreboard of the last split.
        systems: the model, and after it the baseline if there is one.
        prepared: the report of the data preparation.
        latency: the latency of single queries, as in metrics.json; None if not measured.
        config: the configuration as YAML.
        commands: the commands that reproduce the run.
        train_log: the train_log.jsonl of a training run; None for an evaluation.
        gallery: the page of example queries; None for none.
    """

    scoreboard: Scoreboard
    systems: Sequence[EvaluatedSystem]
    prepared: Mapping[str, Any] = field(repr=False)
    latency: Mapping[str, Any] | None = None
    config: str = field(repr=False)
    commands: Sequence[str]
    train_log: Path | None
    gallery: Path | None

    def write(self, folder: Path) -> Path:
        """Write index.html and its JavaScript libraries into a folder; return the page's path."""
        for name, text in vendored(_LIBRARIES).items():
            write_text(folder / name, text)
        page = render(
            "report.html",
            board=self.scoreboard,
            systems=[system.name for system in self.systems],
            facts=self.facts(),
            prepared=self.prepared,
            latency=self.latency,
            coverage=_coverage(self.prepared),
            config=self.config,
            commands=self.commands,
            versions=_versions(),
            libraries=_LIBRARIES,
            gallery=None if self.gallery is None else f"../{self.gallery.name}",
        )
        write_text(folder / "index.html", page)
        return folder / "index.html"

    def facts(self) -> dict[str, Any]:
        """Return the data of the charts."""
        evaluations = [system.evaluation for system in self.systems]
        of_split = isinstance(evaluations[0].plan, SplitSearch)  # a benchmark has no charts
        # The same pairs for both systems: the hard negatives are those of the baseline.
        pairs = sample_photo_pairs(evaluations[-1]) if of_split else {}
        return {
            "systems": [system.name for system in self.systems],
            "compared": self.scoreboard.compared,
            "of_split": of_split,
            "slices": [
                {
                    "name": row.name.split("/")[1],
                    "value": row.name.partition("[")[2][:-1],
                    "now": row.value,
                    "before": row.baseline,
                    "delta": row.delta,
                    "low": row.low,
                    "high": row.high,
                    "n": row.n,
                    "verdict": row.verdict,
                }
                for row in self.scoreboard.slices
                if row.name.startswith("image/")
                and not row.name.endswith("[macro]")
                and row.value is not None
            ],
            "epochs": _epochs(self.train_log, max(evaluations[0].plan.options.k)),
            "confusion": _confusions(evaluations) if of_split else {},
            "edges": _EDGES.round(4).tolist(),
            "likeness": [
                {
                    kind: _shares(values)
                    for kind, values in pair_similarities(system.embedded, pairs).items()
                }
                for system in self.systems
            ],
        }


def _epochs(log: Path | None, k: int) -> list[dict[str, Any]]:
    """The image precision@k by attribute and value after each epoch, and the losses."""
    if log is None or not log.exists():
        return []
    points = []
    for line in log.read_text().splitlines():
        numbers = json.loads(line)
        for key, value in numbers.items():
            parts = key.split("/")
            stem = parts[-1].partition("[")
            shown = parts[0] == "val" and parts[1] == "image" and stem[0] == f"precision@{k}"
            if value is None or not (shown or parts[0] == "train"):
                continue
            name = parts[2] if shown else parts[-1]
            kind = "precision" if shown else "train"
            points.append(
                {
                    "epoch": numbers["epoch"],
                    "kind": kind,
                    "name": name,
                    "slice": stem[2][:-1] if shown else "",
                    "value": value,
                }
            )
    return points


def _confusions(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """By attribute: its values, the number of queries of each, each system's (V, V) shares."""
    tables = {}
    plan = evaluations[0].plan
    assert isinstance(plan, SplitSearch)
    for name in plan.described:
        each = [confusion(evaluation, "image", name) for evaluation in evaluations]
        shown = each[0].queries.argsort(descending=True)[:20]  # more would not be readable
        shown = shown[each[0].queries[shown] > 0]
        tables[name] = {
            "values": [each[0].values[int(i)] for i in shown],
            "queries": each[0].queries[shown].tolist(),
            "shares": [
                [
                    [None if x != x else round(x, 4) for x in row]
                    for row in table.shares[shown][:, shown].tolist()
                ]
                for table in each
            ],
        }
    return tables


def _shares(values: Tensor) -> list[float]:
    """The share of values in each bin."""
    counts = np.histogram(values.clamp(-1, 1).numpy(), bins=_EDGES)[0]
    shares: list[float] = (counts / max(1, counts.sum())).round(5).tolist()
    return shares


def _coverage(prepared: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """By attribute: the number of items with a known value, and of all items."""
    return {
        name: (sum(c[0] for c in of.values()), sum(c[1] for c in of.values()))
        for name, of in prepared.get("coverage", {}).items()
    }


def _versions() -> dict[str, str]:
    """The versions of fashret, Python and the packages that affect results."""
    versions = {"fashret": __version__, "python": platform.python_version()}
    return versions | {name: version(name) for name in _PACKAGES}
