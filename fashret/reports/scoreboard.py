"""The scoreboard: what was, what is, and by how much."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashret.metrics.protocol import KEY_NAMES, MODES, Protocol

ENOUGH_QUERIES = 30
ENOUGH_PRODUCTS = 20
"""A slice of fewer says too little to be called a success or a failure."""


@dataclass(frozen=True)
class Row:
    """One metric of a scoreboard.

    Attributes:
        key: of the metric.
        name: the key without its split.
        baseline: the untrained model's value, None where no query counts.
        value: the model's.
        delta: value minus baseline.
        low: of the value's 95 % interval.
        high: of it.
        n: queries counted.
        ceiling: the best possible value.
        chance: a random ranking's.
        enough: whether n says anything.
    """

    key: str
    name: str
    baseline: float | None
    value: float | None
    delta: float | None
    low: float | None
    high: float | None
    n: int
    ceiling: float | None
    chance: float | None
    enough: bool


@dataclass(frozen=True)
class Scoreboard:
    """The headline metrics of a split, and the slices by value.

    Attributes:
        title: what is compared.
        rows: the headlines.
        slices: image precision by value of the category and each attribute.
    """

    title: str
    rows: Sequence[Row]
    slices: Sequence[Row]

    @classmethod
    def of(
        cls,
        title: str,
        protocol: Protocol,
        results: Mapping[str, Mapping[str, Any]],
        baseline: Mapping[str, float] | None,
        products: Mapping[str, int],
    ) -> "Scoreboard":
        """Choose the rows from an evaluation's results.

        Args:
            title: what is compared.
            protocol: of both evaluations.
            results: by key, as metrics.json holds them.
            baseline: the untrained model's values by key; None if that is what was judged.
            products: by key how many products stand behind a slice.
        """
        before: Mapping[str, float | None]
        before = {key: r["value"] for key, r in results.items()} if baseline is None else baseline
        split, k = KEY_NAMES[protocol.split], max(protocol.options.k)
        headlines, sliced = [], []
        for mode in MODES:
            for relevance in protocol.relevances(mode):
                metric = "hit" if relevance in ("product", "pair") else "precision"
                headlines.append(f"{split}/{mode}/{relevance}/{metric}@{k}")
        for relevance in protocol.described:
            stem = f"{split}/image/{relevance}/precision@{k}["
            sliced += [key for key in results if key.startswith(stem)]
        rows = [_row(key, results, before, products) for key in headlines]
        return cls(title, rows, [_row(key, results, before, products) for key in sliced])

    def to_dict(self) -> dict[str, Any]:
        """As scoreboard.json holds it."""
        return {
            "title": self.title,
            "rows": [asdict(row) for row in self.rows],
            "slices": [asdict(row) for row in self.slices],
        }

    def to_markdown(self) -> str:
        """As scoreboard.md shows it."""
        parts = [
            f"# {self.title}",
            "",
            "Values in points (0 to 100); the interval is the value's 95 % bootstrap interval over "
            "whole products; chance is what a random ranking would reach, ceiling the best that "
            "any could. Rows of too few queries or products are marked insufficient.",
            "",
            *_markdown_table(self.rows),
        ]
        if self.slices:
            parts += ["", "## By value, image queries", "", *_markdown_table(self.slices)]
        return "\n".join(parts) + "\n"

    def show(self, console: Console) -> None:
        """The headlines as a table on the screen."""
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for name in _HEADER[:-1]:  # the ceiling is in the files
            left = name == "metric"
            table.add_column(name, justify="left" if left else "right", no_wrap=True)
        for row in self.rows:
            cells = [Text(cell) for cell in _cells(row)[:-1]]
            cells[3].stylize("green" if (row.delta or 0) > 0 else "red" if row.delta else "")
            table.add_row(*cells)
        console.print(table)


_HEADER = ("metric", "baseline", "value", "delta", "interval", "n", "chance", "ceiling")


def _row(
    key: str,
    results: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, float | None],
    products: Mapping[str, int],
) -> Row:
    now, then = results[key], before[key]
    then = None if then != then else then
    delta = None if now["value"] is None or then is None else now["value"] - then
    macro = key.endswith("[macro]")
    enough = now["n"] > 0 if macro else now["n"] >= ENOUGH_QUERIES
    return Row(
        key=key,
        name=key.partition("/")[2],
        baseline=then,
        value=now["value"],
        delta=delta,
        low=now["low"],
        high=now["high"],
        n=now["n"],
        ceiling=now["ceiling"],
        chance=now["chance"],
        enough=enough and products.get(key, ENOUGH_PRODUCTS) >= ENOUGH_PRODUCTS,
    )


def _cells(row: Row) -> list[str]:
    """A row as text, in the order of `_HEADER`."""
    interval = "" if row.low is None else f"{_points(row.low)} to {_points(row.high)}"
    delta = "" if row.delta is None else f"{100 * row.delta:+.1f}"
    n = str(row.n) if row.enough else f"{row.n} insufficient"
    return [
        row.name,
        _points(row.baseline),
        _points(row.value),
        delta,
        interval,
        n,
        _points(row.chance),
        _points(row.ceiling),
    ]


def _markdown_table(rows: Sequence[Row]) -> list[str]:
    lines = [f"| {' | '.join(_HEADER)} |", "| --- |" + " ---: |" * (len(_HEADER) - 1)]
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in _cells(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
