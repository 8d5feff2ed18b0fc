"""The leaderboard of a sweep: each job's objective, and what it made of the targets.

Light to import.
"""

import csv
import io
import json
import os
import re
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fashret.config import monitored_metric
from fashret.reports.metric_words import in_words
from fashret.reports.screen import console, show_table
from fashret.reports.seed_summary import OverSeeds, over_seeds, without_seed

_REACHED = ("met", "proved")

FAILED = "failed.txt"
"""In the folder of a job that failed: why."""

_OBJECTIVE = "objective.json"
_MARKS = {"proved": "++", "met": "+", "not met": "-", "insufficient": "?"}

_INTERVAL = re.compile(r"(\(.*\)) (\S+)$")
"""The interval and the mark of a target's cell, which stand in two lines on the screen."""


class SweepTable(Callback):
    """Shows a sweep's jobs beside one another, the best first, when the last has ended.

    `sweep.md` and `sweep.csv` in the sweep's folder are written after each job.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write what is known so far."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        value = job_return.return_value if job_return.status is JobStatus.COMPLETED else None
        if isinstance(value, float):
            held = {"monitor": monitored_metric(config), "value": value}
            _write_whole(Path(config.hydra.runtime.output_dir, _OBJECTIVE), json.dumps(held))
        _write(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and show the whole."""
        folder = Path(config.hydra.sweep.dir)
        found = _write(folder)
        if found is None:
            return
        header, rows = found
        cells = [[*row[:3], *(_INTERVAL.sub(r"\2\n\1", cell) for cell in row[3:])] for row in rows]
        screen = console()
        show_table(screen, [in_words(name) for name in header], cells)
        if len(header) > 3 and header[2] == "met":
            screen.print("targets: ++ proved, + met, - not met, ? insufficient", markup=False)
        jobs, failed = len(_jobs(folder)), len(list(folder.glob(f"*/{FAILED}")))
        if failed:
            print(f"{failed} of {jobs} jobs failed: {folder}/<job>/{FAILED} says why")
        print(f"written to {folder}: sweep.md, sweep.csv")


def _jobs(folder: Path) -> list[Path]:
    """The folders of a sweep's jobs, in the order of their numbers."""
    return sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def _write(folder: Path) -> tuple[list[str], list[list[str]]] | None:
    """Write sweep.md and sweep.csv; None for a sweep of something without results."""
    jobs = _jobs(folder)
    if any((_read(job / "metrics.json") or {}).get("protocol") for job in jobs):
        header, rows = protocol_table(jobs)
        note = "\nIn points; the mean is unweighted, over the jobs that have the number.\n"
    elif any((job / name).is_file() for job in jobs for name in ("scoreboard.json", FAILED)):
        header, rows = sweep_table(jobs)
        note = (
            "\nIn points, 95 % intervals in brackets. The monitored metric at the end, the best "
            "first; targets as they rose over the baseline: ++ proved, + met, - not met, "
            "? insufficient. A row over several seeds has the mean, the standard deviation between "
            "seeds, and an interval that knows of both products and seeds.\n"
        )
    else:
        return None
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    _write_whole(folder / "sweep.md", "\n".join(lines) + "\n" + note)
    table = io.StringIO()
    csv.writer(table).writerows([header, *rows])
    _write_whole(folder / "sweep.csv", table.getvalue())
    return header, rows


def _write_whole(path: Path, text: str) -> None:
    """Jobs may end at the same time."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)


def sweep_table(jobs: list[Path]) -> tuple[list[str], list[list[str]]]:
    """A header, and a row a job: what it overrides, its objective, and what targets came to.

    Args:
        jobs: the folders of a sweep's jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    boards = [_targets(job) for job in jobs]
    names = list(dict.fromkeys(name for board in boards for name in board or ()))
    objectives = [_read(job / _OBJECTIVE) for job in jobs]
    monitor = next((o["monitor"] for o in objectives if o), None) or "objective"
    rows = []
    places = sorted(range(len(jobs)), key=lambda i: _rank(jobs[i], objectives[i]))
    for job, given, board, objective in (
        (jobs[i], overrides[i], boards[i], objectives[i]) for i in places
    ):
        met = sum(row["verdict"] in _REACHED for row in (board or {}).values())
        what = ", ".join(o for o in given if o not in common) or "as it is"
        cells = [_cell((board or {}).get(name)) for name in names]
        verdict = f"{met}/{len(board)}" if board is not None else _no_result(job)
        rows.append([f"{job.name}: {what}", _objective(job, objective), verdict, *cells])
    rows += _seed_rows(overrides, common, boards, objectives, names)
    return ["job", str(monitor), "met", *names], rows


def _seed_rows(
    overrides: list[list[str]],
    common: set[str],
    boards: list[dict[str, dict[str, Any]] | None],
    objectives: list[dict[str, Any] | None],
    names: list[str],
) -> list[list[str]]:
    """A row for each set of jobs that differ in their seed alone."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, given in enumerate(overrides):
        if boards[i] is not None:
            groups.setdefault(without_seed(given), []).append(i)
    rows = []
    for shared, members in groups.items():
        if len(members) < 2:
            continue
        made = [boards[i] or {} for i in members]
        found = {n: over_seeds([board[n] for board in made if n in board]) for n in names}
        met = sum(one is not None and one.verdict in _REACHED for one in found.values())
        cells = ["?" if one is None else _over_seeds_cell(one) for one in found.values()]
        values = [100 * float(o["value"]) for i in members if (o := objectives[i]) is not None]
        objective = f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else ""
        what = ", ".join(o for o in shared if o not in common)
        label = f"{len(members)} seeds" + (f": {what}" if what else "")
        rows.append([label, objective, f"{met}/{len(names)}", *cells])
    return rows


def _over_seeds_cell(one: OverSeeds) -> str:
    low, high = 100 * one.low, 100 * one.high
    change = f"{100 * one.delta:+.1f} ± {100 * one.spread:.1f}"
    return f"{change} ({low:+.1f}, {high:+.1f}) {_MARKS[one.verdict]}"


def protocol_table(jobs: list[Path]) -> tuple[list[str], list[list[str]]]:
    """A header, and a row a job of what an official protocol gave, with their mean below.

    Args:
        jobs: the folders of a sweep's jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    results = [(_read(job / "metrics.json") or {}).get("metrics", {}) for job in jobs]
    found = [
        {key.split("/", 2)[2]: result["value"] for key, result in held.items()} for held in results
    ]
    names = list(dict.fromkeys(name for values in found for name in values))

    def cells(values: dict[str, float | None]) -> list[str]:
        known = [values.get(name) for name in names]
        return ["" if value is None else f"{100 * value:.2f}" for value in known]

    rows = []
    for job, given, values in zip(jobs, overrides, found, strict=True):
        what = ", ".join(o for o in given if o not in common) or "as it is"
        shown = cells(values) if values else [_no_result(job), *[""] * (len(names) - 1)]
        rows.append([f"{job.name}: {what}", *shown])
    means: dict[str, float | None] = {}
    for name in names:
        column = [value for values in found if (value := values.get(name)) is not None]
        means[name] = sum(column) / len(column) if column else None
    return ["job", *names], [*rows, ["mean", *cells(means)]]


def _rank(job: Path, objective: dict[str, Any] | None) -> tuple[bool, float, int]:
    """The best first; what failed or has no number last, in order."""
    known = objective is not None and not (job / FAILED).exists()
    value = float(objective["value"]) if objective is not None and known else 0.0
    return not known, -value, int(job.name)


def _objective(job: Path, objective: dict[str, Any] | None) -> str:
    """The objective in points, with its interval where the job's results have it."""
    if objective is None or (job / FAILED).exists():
        return ""
    value = float(objective["value"])
    results = (_read(job / "metrics.json") or {}).get("metrics", {})
    found = results.get(objective["monitor"])
    if not found or found["low"] is None or abs(found["value"] - value) > 1e-12:
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} ({100 * found['low']:.2f}, {100 * found['high']:.2f})"


def _no_result(job: Path) -> str:
    path = job / FAILED
    return f"failed: {path.read_text().splitlines()[0][:60]}" if path.exists() else "no result"


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    held: dict[str, Any] = json.loads(path.read_text())
    return held


def _overrides(job: Path) -> list[str]:
    path = job / ".hydra" / "overrides.yaml"
    return [str(o) for o in OmegaConf.load(path)] if path.is_file() else []


def _targets(job: Path) -> dict[str, dict[str, Any]] | None:
    """The rows of a job's targets by name; None of a job that left none."""
    board = _read(job / "scoreboard.json")
    return None if board is None else {str(row["name"]): row for row in board["rows"]}


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["delta"] is None:
        return "?" if row else ""
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['delta']:+.1f} ({low:+.1f}, {high:+.1f}) {_MARKS[row['verdict']]}"
