"""The leaderboard of a sweep: the objective and the targets of each job. Light to import."""

import csv
import io
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from fashret.reports.atomic_write import write_text
from fashret.reports.seed_summary import OverSeeds, over_seeds, without_seed

OBJECTIVE = "objective.json"
"""The file in the folder of a job with the value of the monitored metric."""

FAILED = "failed.txt"
"""The file in the folder of a failed job with the error."""

Table = tuple[list[str], list[list[str]]]
"""The header and the rows of a table."""

_REACHED = ("met", "proved")
_MARKS = {"proved": "++", "met": "+", "not met": "-", "insufficient": "?"}


def job_folders(folder: Path) -> list[Path]:
    """Return the folders of a sweep's jobs, by job number."""
    return sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def write_sweep(folder: Path) -> Table | None:
    """Write sweep.md and sweep.csv of the jobs so far.

    Returns:
        The table; None if no job left results or an error.
    """
    jobs = job_folders(folder)
    if any((_read(job / "metrics.json") or {}).get("protocol") for job in jobs):
        header, rows = benchmark_sweep_table(jobs)
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
    write_text(folder / "sweep.md", "\n".join(lines) + "\n" + note)
    table = io.StringIO()
    csv.writer(table).writerows([header, *rows])
    write_text(folder / "sweep.csv", table.getvalue())
    return header, rows


def sweep_table(jobs: list[Path]) -> Table:
    """Make the table of a training sweep: one row per job, the best first.

    A row has the job's overrides, its objective and the verdict on each target; rows over jobs that
    differ only in their seed follow.

    Args:
        jobs: the folders of the jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    boards = [_targets(job) for job in jobs]
    names = list(dict.fromkeys(name for board in boards for name in board or ()))
    objectives = [_read(job / OBJECTIVE) for job in jobs]
    monitor = next((o["monitor"] for o in objectives if o), None) or "objective"
    rows = []
    best_first = sorted(range(len(jobs)), key=lambda i: _sort_key(jobs[i], objectives[i]))
    for job, given, board, objective in (
        (jobs[i], overrides[i], boards[i], objectives[i]) for i in best_first
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
    """One row for each set of jobs that differ only in their seed."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, given in enumerate(overrides):
        if boards[i] is not None:
            groups.setdefault(without_seed(given), []).append(i)
    rows = []
    for shared, members in groups.items():
        if len(members) < 2:
            continue
        targets = [boards[i] or {} for i in members]
        summaries = {n: over_seeds([board[n] for board in targets if n in board]) for n in names}
        met = sum(one is not None and one.verdict in _REACHED for one in summaries.values())
        cells = ["?" if one is None else _over_seeds_cell(one) for one in summaries.values()]
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


def benchmark_sweep_table(jobs: list[Path]) -> Table:
    """Make the table of a sweep over a published benchmark: one row per job, and their mean.

    Args:
        jobs: the folders of the jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    results = [(_read(job / "metrics.json") or {}).get("metrics", {}) for job in jobs]
    values_by_job = [
        {key.split("/", 2)[2]: result["value"] for key, result in metrics.items()}
        for metrics in results
    ]
    names = list(dict.fromkeys(name for values in values_by_job for name in values))

    def cells(values: dict[str, float | None]) -> list[str]:
        known = [values.get(name) for name in names]
        return ["" if value is None else f"{100 * value:.2f}" for value in known]

    rows = []
    for job, given, values in zip(jobs, overrides, values_by_job, strict=True):
        what = ", ".join(o for o in given if o not in common) or "as it is"
        shown = cells(values) if values else [_no_result(job), *[""] * (len(names) - 1)]
        rows.append([f"{job.name}: {what}", *shown])
    means: dict[str, float | None] = {}
    for name in names:
        column = [value for values in values_by_job if (value := values.get(name)) is not None]
        means[name] = sum(column) / len(column) if column else None
    return ["job", *names], [*rows, ["mean", *cells(means)]]


def _sort_key(job: Path, objective: dict[str, Any] | None) -> tuple[bool, float, int]:
    """The sort key of a job: the best objective first, failed jobs last."""
    has_value = objective is not None and not (job / FAILED).exists()
    value = float(objective["value"]) if objective is not None and has_value else 0.0
    return not has_value, -value, int(job.name)


def _objective(job: Path, objective: dict[str, Any] | None) -> str:
    """The objective in points, with its interval if the job's results have one."""
    if objective is None or (job / FAILED).exists():
        return ""
    value = float(objective["value"])
    results = (_read(job / "metrics.json") or {}).get("metrics", {})
    metric = results.get(objective["monitor"])
    if not metric or metric["low"] is None or abs(metric["value"] - value) > 1e-12:
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} ({100 * metric['low']:.2f}, {100 * metric['high']:.2f})"


def _no_result(job: Path) -> str:
    path = job / FAILED
    return f"failed: {path.read_text().splitlines()[0][:60]}" if path.exists() else "no result"


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    contents: dict[str, Any] = json.loads(path.read_text())
    return contents


def _overrides(job: Path) -> list[str]:
    path = job / ".hydra" / "overrides.yaml"
    return [str(o) for o in yaml.safe_load(path.read_text())] if path.is_file() else []


def _targets(job: Path) -> dict[str, dict[str, Any]] | None:
    """The rows of a job's targets by name; None if it has no scoreboard."""
    board = _read(job / "scoreboard.json")
    return None if board is None else {str(row["name"]): row for row in board["rows"]}


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["delta"] is None:
        return "?" if row else ""
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['delta']:+.1f} ({low:+.1f}, {high:+.1f}) {_MARKS[row['verdict']]}"
