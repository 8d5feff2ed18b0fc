"""How the benchmarks measure and what they hand on: ratios of alternating runs, rows, peaks.

A machine whose speed drifts makes seconds of two moments incomparable. So what is compared runs in
one process and in turns, and each turn gives a ratio of its own.
"""

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LONG = 5.0
"""Seconds from which a step is measured once."""

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs.

    Attributes:
        median: of the turns.
        low: the smallest.
        high: the largest.
        ours: median of what ours took.
        theirs: median of what theirs took.
        found: what both returned in the last turn.
    """

    median: float
    low: float
    high: float
    ours: float
    theirs: float
    found: tuple[Any, Any] = (None, None)

    @classmethod
    def of(
        cls,
        ours: Sequence[float],
        theirs: Sequence[float],
        found: tuple[Any, Any] = (None, None),
    ) -> "Ratio":
        """Of what both took, turn by turn."""
        turns = [a / b for a, b in zip(ours, theirs, strict=True)]
        middle = statistics.median
        return cls(middle(turns), min(turns), max(turns), middle(ours), middle(theirs), found)


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> Ratio:
    """Run both in turns, each first in every other turn; the first turn warms up."""
    taken: tuple[list[float], list[float]] = ([], [])
    found: list[Any] = [None, None]
    for turn in range(repeats + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            found[which] = None  # what the turn before made is given back first
            gc.collect()
            start = time.perf_counter()
            found[which] = (ours, theirs)[which]()
            taken[which].append(time.perf_counter() - start)
    return Ratio.of(taken[0][1:], taken[1][1:], (found[0], found[1]))


@dataclass
class Row:
    """One measurement.

    Attributes:
        measurement: what was measured.
        baseline: what ours is compared with, "" for nothing.
        ours: what ours took.
        theirs: what the baseline took.
        unit: of both.
        ratio: ours over theirs; below 1 ours takes less.
        low: the smallest of the turns.
        high: the largest.
        bound: what the ratio must not exceed.
        note: what is to be known of it; for one that was not made, why.
        curve: a point of the growth picture.
    """

    measurement: str
    baseline: str = ""
    ours: float | None = None
    theirs: float | None = None
    unit: str = "s"
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    note: str = ""
    curve: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, measurement: str, baseline: str, ratio: Ratio, **more: Any) -> "Row":
        """Of alternating runs."""
        return cls(
            measurement,
            baseline,
            ratio.ours,
            ratio.theirs,
            ratio=ratio.median,
            low=ratio.low,
            high=ratio.high,
            **more,
        )

    @property
    def met(self) -> bool | None:
        """Whether the bound is met; None without one."""
        if self.bound is None or self.ratio is None:
            return None
        return self.ratio <= self.bound

    def line(self) -> str:
        """The row to read."""
        parts = [f"{self.measurement:<44}"]
        if self.ours is not None:
            parts.append(f"{number(self.ours)} {self.unit}")
        if self.baseline:
            parts.append(f"against {self.baseline}")
        if self.theirs is not None:
            parts.append(f"({number(self.theirs)} {self.unit})")
        if self.ratio is not None:
            parts.append(f"ratio {number(self.ratio)}{spread(self)}")
        if self.met is not None:
            parts.append(f"bound {self.bound:g} {'met' if self.met else 'NOT MET'}")
        return "  ".join(parts) + (f"  [{self.note}]" if self.note else "")


def number(value: float | None) -> str:
    """Three digits that say something."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) >= 1 else 3}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def spread(row: Row) -> str:
    """The smallest and the largest ratio."""
    if row.low is None or row.high is None or row.low == row.high:
        return ""
    return f" ({number(row.low)} to {number(row.high)})"


@dataclass(frozen=True)
class Cost:
    """What a step took in a process of its own.

    Attributes:
        seconds: the median of the repeats.
        gib: memory at the most, above what was held before the first.
        repeats: how many are counted; a long step has one, its first.
        found: what the last returned.
    """

    seconds: float
    gib: float
    repeats: int
    found: Any = None


def cost(make: Callable[..., Callable[[], Any]], *args: Any, repeats: int = 3) -> Cost:
    """Measure what `make` makes, a function of a benchmark's module, in a process of its own.

    The first run, on whose memory nothing was reused, gives the peak; its seconds count only
    where it is long.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_cost, make, args, repeats).result()


def _cost(make: Callable[..., Callable[[], Any]], args: Sequence[Any], repeats: int) -> Cost:
    work = make(*args)
    gc.collect()
    before = _begin_peak()
    start = time.perf_counter()
    found = work()
    taken = [time.perf_counter() - start]
    gib = max(0.0, _resident("VmHWM") - before)
    if taken[0] < LONG:
        for _ in range(repeats):
            start = time.perf_counter()
            found = work()
            taken.append(time.perf_counter() - start)
        taken = taken[1:] or taken
    return Cost(statistics.median(taken), gib, len(taken), found)


def _begin_peak() -> float:
    """GiB that this process holds; its peak counts from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # no Linux: the peak is that since the start
        return _resident("VmHWM")
    return _resident("VmRSS")


def _resident(what: str) -> float:
    """GiB of this process, now (VmRSS) or at the most (VmHWM)."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 2**20


def installed(package: str) -> bool:
    """Whether a peer is there to be compared with."""
    return find_spec(package) is not None


@dataclass
class Options:
    """What a benchmark is asked for.

    Attributes:
        quick: small sizes and few repeats: whether it runs at all.
        photos: a folder with styles.csv and images/, for those that want real photos.
        json: where rows are written for run.py.
        more: the benchmark's own.
    """

    quick: bool
    photos: Path | None
    json: Path | None
    more: argparse.Namespace

    @property
    def repeats(self) -> int:
        """Turns that count."""
        return 1 if self.quick else 5


def benchmark(
    rows: Callable[[Options], Iterator[Row]],
    doc: str | None,
    *more: tuple[str, dict[str, Any]],
) -> None:
    """Run a benchmark's module as a command: print its rows as they come, and keep them.

    Args:
        rows: measures.
        doc: of the module.
        more: further arguments of the command.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run")
    parser.add_argument("--photos", type=Path, help="a folder with styles.csv and images/")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    for name, settings in more:
        parser.add_argument(name, **settings)
    given = parser.parse_args()
    options = Options(given.quick, given.photos, given.json, given)
    made: list[Row] = []
    try:
        for row in rows(options):
            made.append(row)
            print(row.line(), flush=True)
    finally:  # what was measured before a failure counts
        if options.json is not None:
            options.json.write_text(json.dumps([asdict(row) for row in made]))
    sys.stdout.flush()
