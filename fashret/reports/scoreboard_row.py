"""One row of a scoreboard, and its cells as text. Light to import."""

from collections.abc import Sequence
from dataclasses import dataclass

MUST_NOT_FALL = "must not fall"
"""The text of a target without a required rise."""


@dataclass(frozen=True)
class Row:
    """One metric of a scoreboard; metrics are between 0 and 1.

    Attributes:
        key: the key of the metric.
        name: the key without its split.
        baseline: the value of the baseline; None without a baseline or if no query counts.
        value: the value of the evaluated system; None if no query counts.
        delta: value minus baseline.
        low: lower bound of the 95 % interval of the delta; of the value without a baseline.
        high: upper bound of that interval.
        p: two-sided p-value of the delta; None without a baseline.
        n: the number of queries that count.
        ceiling: the value of an ideal ranking.
        chance: the expected value of a random ranking.
        target: the target as text; "" for a metric without a target.
        verdict: proved, met, not met or insufficient for a target; REGRESSED, insufficient or ""
            for another metric.
        rise: the rise that a target requires; None for a metric that must not fall or that has
            no target.
        margin: the accepted fall of a target that must not fall.
    """

    key: str
    name: str
    baseline: float | None
    value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    ceiling: float | None
    chance: float | None
    target: str = ""
    verdict: str = ""
    rise: float | None = None
    margin: float | None = None

    @property
    def direction(self) -> int:
        """1 if the whole interval of the delta is above 0, -1 if it is below, else 0."""
        if self.delta is None or self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def cells(row: Row) -> dict[str, str]:
    """Format a row as text, by column; metrics in points (0 to 100)."""
    low, high = _signed(row.low), _signed(row.high)
    if row.p is None:
        low, high = _points(row.low), _points(row.high)
    return {
        "metric": row.name,
        "asked": row.target,
        "baseline": _points(row.baseline),
        "value": _points(row.value),
        "delta": "" if row.delta is None else _signed(row.delta),
        "interval": "" if row.low is None else f"{low} to {high}",
        "p": "" if row.p is None else f"{row.p:.4f}" if row.p >= 0.001 else "<0.001",
        "n": str(row.n),
        "verdict": row.verdict,
        "chance": _points(row.chance),
        "ceiling": _points(row.ceiling),
    }


def markdown_table(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Format rows as the lines of a Markdown table with the given columns."""
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in rows:
        shown = cells(row)
        escaped = [shown[column].replace("|", "\\|") for column in columns]
        lines.append(f"| {' | '.join(escaped)} |")
    return lines


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"
