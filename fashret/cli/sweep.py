"""The table of a finished sweep: what each job made of the targets. Light to import."""

import json
import os
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_MARKS = {"met": "+", "not met": "-", "insufficient": "?"}


class SweepTable(Callback):
    """Shows a sweep's jobs beside one another when the last has ended.

    `sweep.md` in the sweep's folder is written after each job: one that fails ends the sweep.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write what is known so far."""
        if config.hydra.mode is RunMode.MULTIRUN:
            _write(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and show the whole."""
        folder = Path(config.hydra.sweep.dir)
        found = _write(folder)
        if found is None:
            return
        header, rows = found
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", no_wrap=i > 0)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = Console()
        (console if console.is_terminal else Console(width=240)).print(table)
        print(f"written to {folder / 'sweep.md'}")


def _write(folder: Path) -> tuple[list[str], list[list[str]]] | None:
    """Write sweep.md; None for a sweep of something without scoreboards."""
    jobs = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    if not any((job / "scoreboard.json").is_file() for job in jobs):
        return None
    header, rows = sweep_table(jobs)
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    note = (
        "\nPoints over the baseline, the 95 % interval in brackets; + met, - not met, "
        "? insufficient.\n"
    )
    partial = folder / f".sweep.md.{os.getpid()}"
    partial.write_text("\n".join(lines) + "\n" + note)
    os.replace(partial, folder / "sweep.md")
    return header, rows


def sweep_table(jobs: list[Path]) -> tuple[list[str], list[list[str]]]:
    """A header, and a row a job: what it overrides, how many targets it met, and each one's delta.

    Args:
        jobs: the folders of a sweep's jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    boards = [_targets(job) for job in jobs]
    names = list(dict.fromkeys(name for board in boards for name in board or ()))
    rows = []
    for job, given, board in zip(jobs, overrides, boards, strict=True):
        met = sum(row["verdict"] == "met" for row in (board or {}).values())
        what = ", ".join(o for o in given if o not in common) or "as it is"
        cells = [_cell((board or {}).get(name)) for name in names]
        verdict = f"{met}/{len(board)}" if board is not None else "no result"
        rows.append([f"{job.name}: {what}", verdict, *cells])
    return ["job", "met", *names], rows


def _overrides(job: Path) -> list[str]:
    path = job / ".hydra" / "overrides.yaml"
    return [str(o) for o in OmegaConf.load(path)] if path.is_file() else []


def _targets(job: Path) -> dict[str, dict[str, Any]] | None:
    """The rows of a job's targets by name; None of a job that left none."""
    path = job / "scoreboard.json"
    if not path.is_file():
        return None
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return {str(row["name"]): row for row in rows}


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["delta"] is None:
        return "?" if row else ""
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['delta']:+.1f} ({low:+.1f}, {high:+.1f}) {_MARKS[row['verdict']]}"
