"""The curves of attribute blocks, as files and as tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fashret.evaluation.head_weights import WeightCurve
from fashret.reports.files import write_text
from fashret.reports.metric_words import in_words
from fashret.reports.screen import show_table


def write_weight_curves(folder: Path, curves: Sequence[WeightCurve]) -> None:
    """Write steering.json and steering.md."""
    held = [
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
    write_text(folder / "steering.json", json.dumps(held, indent=1, allow_nan=False) + "\n")
    parts = [
        "# What the blocks of attributes are worth at query time",
        "",
        "One catalog; the queries alone carry the weights. Values in points; the cost is the "
        "largest fall of an overall metric from weight 0. The queries are those that the keys "
        "name: after training the validation's, so that a weight can be chosen by them and be "
        "judged by the test's.",
    ]
    for curve in curves:
        header, rows = _table(curve)
        parts += ["", f"## {curve.attribute}", "", _verdict(curve), ""]
        parts += [f"| {' | '.join(header)} |", "| ---: |" + " ---: |" * (len(header) - 1)]
        parts += [f"| {' | '.join(row)} |" for row in rows]
    write_text(folder / "steering.md", "\n".join(parts) + "\n")


def show_weight_curves(curves: Sequence[WeightCurve], console: Console) -> None:
    """A table a block on the screen."""
    for curve in curves:
        header, rows = _table(curve)
        console.print(Text(_verdict(curve), style="bold", overflow="fold"))
        show_table(console, [in_words(name) for name in header], rows)


def _table(curve: WeightCurve) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a curve."""
    overall = list(curve.points[0].overall)
    header = ["weight", *(name.partition("/")[2] for name in (curve.key, *overall)), "cost"]
    rows = []
    for point in curve.points:
        values = [point.value, *(point.overall[name] for name in overall), point.cost]
        mark = " *" if point is curve.chosen else ""
        rows.append([f"{point.weight:g}{mark}", *(f"{100 * value:.1f}" for value in values)])
    return header, rows


def _verdict(curve: WeightCurve) -> str:
    """What to do with the curve, in a sentence."""
    name = curve.attribute
    if curve.rise is None:
        return f"{name}: retrieval.weights={{{name}: <weight>}} steers a search"
    if curve.chosen is None:
        return f"{name}: no weight brings the {100 * curve.rise:g} points that are asked for"
    if curve.chosen.weight == 0.0:
        return f"{name}: the {100 * curve.rise:g} points that are asked for are there without it"
    return (
        f"{name}: retrieval.weights={{{name}: {curve.chosen.weight:g}}} brings the "
        f"{100 * curve.rise:g} points that are asked for at the least cost"
    )
