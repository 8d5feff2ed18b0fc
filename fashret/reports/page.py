"""report/index.html: a run on one page, that opens from disk without a network."""

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
from fashret.reports.files import write_text
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.web import render, vendored
from fashret.version import __version__

_LIBRARIES = ("d3.min.js", "plot.umd.min.js")
_PACKAGES = ("torch", "open_clip_torch", "pytorch-lightning", "torchmetrics", "datasets")
_EDGES = np.linspace(-1.0, 1.0, 81)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page tells.

    Attributes:
        scoreboard: of the last split.
        systems: the model, and after it what it is compared with, if anything.
        prepared: the report of the data's preparation.
        latency: of single queries, as metrics.json has it; None where it was not measured.
        config: the configuration as YAML.
        commands: that do it again.
        train_log: the file of a training run; None of an evaluation.
        gallery: the page of queries beside it, if there is one.
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
        """Write index.html and the libraries beside it; give its path."""
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
        """What the charts show."""
        evaluations = [system.evaluation for system in self.systems]
        of_split = isinstance(evaluations[0].plan, SplitSearch)  # a benchmark has tables alone
        # Both systems are judged on what the one before training took for alike.
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
                if not row.name.endswith("[macro]") and row.value is not None
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
    """Each evaluation's image precision@k by attribute and value, and the losses."""
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
    """By attribute its values, how many ask for each, and each system's (V, V) shares."""
    tables = {}
    plan = evaluations[0].plan
    assert isinstance(plan, SplitSearch)
    for name in plan.described:
        each = [confusion(evaluation, "image", name) for evaluation in evaluations]
        asked = each[0].queries.argsort(descending=True)[:20]  # the commonest; more is no picture
        asked = asked[each[0].queries[asked] > 0]
        tables[name] = {
            "values": [each[0].values[int(i)] for i in asked],
            "queries": each[0].queries[asked].tolist(),
            "shares": [
                [
                    [None if x != x else round(x, 4) for x in row]
                    for row in table.shares[asked][:, asked].tolist()
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
    """By attribute of how many items a value is known, of how many."""
    return {
        name: (sum(c[0] for c in of.values()), sum(c[1] for c in of.values()))
        for name, of in prepared.get("coverage", {}).items()
    }


def _versions() -> dict[str, str]:
    """Of fashret, Python and the packages whose version changes results."""
    own = {"fashret": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in _PACKAGES}
