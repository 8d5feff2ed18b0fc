"""The table of a finished sweep: what each job made of the targets. Light to import."""

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_MARKS = {"met": "+", "not met": "-", "insufficient": "?"}


class SweepTable(Callback):
    """Shows a sweep's jobs beside one another when the last has ended, and writes sweep.md."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Read the scoreboards of the jobs; one that failed has none."""
        folder = Path(config.hydra.sweep.dir)
        jobs = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
        if not any((job / "scoreboard.json").is_file() for job in jobs):
            return  # a sweep of something else
        header, rows = sweep_table(jobs)
        lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        note = (
            "\nPoints over the baseline, the 95 % interval in brackets; + met, - not met, "
            "? insufficient.\n"
        )
        (folder / "sweep.md").write_text("\n".join(lines) + "\n" + note)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", no_wrap=i > 0)
        for row in rows:
            table.add_row(*row)
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table, markup=False)
        print(f"written to {folder / 'sweep.md'}")


def sweep_table(jobs: list[Path]) -> tuple[list[str], list[list[str]]]:
    """A header, and a row a job: what it overrides, how many targets it met, and each one's delta.

    Args:
        jobs: the folders of a sweep's jobs.
    """
    overrides = [_overrides(job) for job in jobs]
    common = set.intersection(*map(set, overrides)) if len(jobs) > 1 else set()
    boards = [_targets(job) for job in jobs]
    names = list(dict.fromkeys(name for board in boards for name in board))
    rows = []
    for job, given, board in zip(jobs, overrides, boards, strict=True):
        met = sum(row["verdict"] == "met" for row in board.values())
        what = ", ".join(o for o in given if o not in common) or "as it is"
        cells = [_cell(board.get(name)) for name in names]
        rows.append([f"{job.name}: {what}", f"{met}/{len(names)}" if board else "failed", *cells])
    return ["job", "met", *(name.replace("|", "\\|") for name in names)], rows


def _overrides(job: Path) -> list[str]:
    path = job / ".hydra" / "overrides.yaml"
    return [str(o) for o in OmegaConf.load(path)] if path.is_file() else []


def _targets(job: Path) -> dict[str, dict[str, Any]]:
    path = job / "scoreboard.json"
    if not path.is_file():
        return {}
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return {str(row["name"]): row for row in rows}


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["delta"] is None:
        return "?" if row else ""
    low, high = 100 * row["low"], 100 * row["high"]
    return f"{100 * row['delta']:+.1f} ({low:+.1f}, {high:+.1f}) {_MARKS[row['verdict']]}"
