"""Report how the weights of the attribute heads change a search, as files and tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fashret.evaluation.head_weights import WeightCurve
from fashret.reports.atomic_write import write_text
from fashret.reports.metric_words import in_words
from fashret.reports.screen import show_table


def write_weight_curves(folder: Path, curves: Sequence[WeightCurve]) -> None:
    """Write steering.json and steering.md: each attribute head at a range of weights."""
    contents = [
        {
            "attribute": curve.attribute,
            "key": curve.key,
            "rise": curve.rise,
            "chosen": None if curve.chosen is None else curve.chosen.weight,
            "points": [
                asdict(point) | {"value": None if point.value != point.value else point.value}
                for point in curve.points
            ],
        }
        for curve in curves
    ]
    write_text(folder / "steering.json", json.dumps(contents, indent=1, allow_nan=False) + "\n")
    parts = [
        "# Weights of the attribute heads at query time",
        "",
        "The weights apply to the queries alone; the catalog stays the same. Values in points (0 "
        "to 100); the cost is the largest fall of an overall metric from its value at weight 0. "
        "After training the queries are those of the validation split, so that a weight can be "
        "chosen on validation and evaluated on test.",
    ]
    for curve in curves:
        header, rows = _table(curve)
        parts += ["", f"## {curve.attribute}", "", _verdict(curve), ""]
        parts += [f"| {' | '.join(header)} |", "| ---: |" + " ---: |" * (len(header) - 1)]
        parts += [f"| {' | '.join(row)} |" for row in rows]
    write_text(folder / "steering.md", "\n".join(parts) + "\n")


def show_weight_curves(curves: Sequence[WeightCurve], console: Console) -> None:
    """Print one table for each attribute head.

    Args:
        curves: the metrics of each head over a range of weights.
        console: the console to print on.
    """
    for curve in curves:
        header, rows = _table(curve)
        console.print(Text(_verdict(curve), style="bold", overflow="fold"))
        show_table(console, [in_words(name) for name in header], rows)


def _table(curve: WeightCurve) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a curve's table; * marks the chosen weight."""
    overall = list(curve.points[0].overall)
    header = ["weight", *(name.partition("/")[2] for name in (curve.key, *overall)), "cost"]
    rows = []
    for point in curve.points:
        values = [point.value, *(point.overall[name] for name in overall), point.cost]
        mark = " *" if point is curve.chosen else ""
        rows.append([f"{point.weight:g}{mark}", *(f"{100 * value:.1f}" for value in values)])
    return header, rows


def _verdict(curve: WeightCurve) -> str:
    """The conclusion from a curve, in a sentence."""
    name = curve.attribute
    if curve.rise is None:
        return f"{name}: set its weight in a query by retrieval.weights={{{name}: <weight>}}"
    if curve.chosen is None:
        return f"{name}: no weight reaches the target of {100 * curve.rise:+g} points"
    if curve.chosen.weight == 0.0:
        return f"{name}: the target of {100 * curve.rise:+g} points is met at weight 0"
    return (
        f"{name}: retrieval.weights={{{name}: {curve.chosen.weight:g}}} meets the target "
        f"of {100 * curve.rise:+g} points at the lowest cost"
    )
