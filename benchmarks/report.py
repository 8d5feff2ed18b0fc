"""The table of all benchmarks: as Markdown, as JSON, and against the one before."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measure import Row, number, spread

from fashret.version import __version__

_PACKAGES = (
    "torch numpy open_clip_torch timm pytorch-lightning torchmetrics pandas pillow faiss-cpu "
    "sentence-transformers pytorch-metric-learning look-bench clip-retrieval"
).split()

_HEAD = (
    "| measurement | ours | peer or baseline | theirs | ratio | spread | bound | "
    "before -> now | note |\n| --- | ---: | --- | ---: | ---: | --- | --- | --- | --- |"
)

Entry = dict[str, Any]
"""The results of one benchmark: its date, machine, seconds and rows."""


def machine() -> dict[str, Any]:
    """What decides whether two results can be compared."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return {"cpu": name, "cores": os.cpu_count(), "gpu": _gpu()}


def versions() -> dict[str, str]:
    """Of ourselves and of what is compared, as far as it is installed."""
    found = {"fashret": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def read(path: Path) -> dict[str, Entry]:
    """The results of an earlier run, by benchmark; none where there is no such file."""
    if not path.exists():
        return {}
    entries: dict[str, Entry] = json.loads(path.read_text())["benchmarks"]
    return entries


def write(folder: Path, entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> None:
    """Write latest.json and latest.md.

    Args:
        folder: where.
        entries: of all benchmarks, new ones and those that stay.
        before: those that are replaced, to compare the new ones with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = {"versions": versions(), "benchmarks": entries}
    (folder / "latest.json").write_text(json.dumps(held, indent=1) + "\n")
    lines = [
        "# Benchmarks",
        "",
        "`python benchmarks/run.py` wrote this. A ratio is ours over theirs, median of alternating",
        "turns in one process: below 1 ours takes less. `moved` marks a ratio whose spread no",
        "longer meets the one before.",
        "",
        ", ".join(f"{name} {what}" for name, what in held["versions"].items()),
    ]
    bounded = [
        _line(Row(**row), name, before.get(name), entry)
        for name, entry in entries.items()
        for row in entry["rows"]
        if row["bound"] is not None
    ]
    if bounded:
        lines += ["", "## What has a bound", "", _HEAD, *bounded]
    for name, entry in entries.items():
        where = entry["machine"]
        gpu = f", {where['gpu']}" if where["gpu"] else ""
        lines += ["", f"## {name}", ""]
        lines += [
            f"{entry['date']}, {where['cpu']}, {where['cores']} cores{gpu}, "
            f"{entry['seconds']:.0f} s, load {entry['load']} before"
            f"{', quick' if entry['quick'] else ''}",
            "",
            _HEAD,
        ]
        past = before.get(name)
        lines += [_line(Row(**row), name, past, entry) for row in entry["rows"]]
    (folder / "latest.md").write_text("\n".join(lines) + "\n")


def moved(row: Row, past: Entry | None, entry: Entry) -> str:
    """The ratio before and now, `moved` where their spreads do not meet."""
    if past is None or row.ratio is None or row.low is None or row.high is None:
        return ""
    if past["machine"] != entry["machine"] or past["quick"] != entry["quick"]:
        return "another machine" if past["machine"] != entry["machine"] else "another size"
    key = row.measurement, row.baseline
    for held in past["rows"]:
        old = Row(**held)
        if (old.measurement, old.baseline) != key or old.ratio is None:
            continue
        if old.low is None or old.high is None:
            return ""
        apart = row.low > old.high or row.high < old.low
        return f"{number(old.ratio)} -> {number(row.ratio)}{' **moved**' if apart else ''}"
    return "new"


def _line(row: Row, name: str, past: Entry | None, entry: Entry) -> str:
    unit = "" if row.unit == "s" else f" {row.unit}"
    bound = ""
    if row.bound is not None:
        met = {None: "not measured", True: "met", False: "**not met**"}[row.met]
        bound = f"<= {row.bound:g} {met}"
    cells = [
        row.measurement,
        "" if row.ours is None else f"{number(row.ours)}{unit or ' s'}",
        row.baseline,
        "" if row.theirs is None else f"{number(row.theirs)}{unit or ' s'}",
        number(row.ratio),
        spread(row).strip(" ()").replace(" to ", "..") if row.ratio is not None else "",
        bound,
        moved(row, past, entry),
        row.note,
    ]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
