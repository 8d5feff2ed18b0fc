"""The scoreboard in a notebook: a chart of its headline metrics, and its targets."""

from fashret.evaluation.verdicts import REGRESSED
from fashret.reports.metric_words import in_words
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.scoreboard_row import Row, cells
from fashret.reports.web import render

_LEFT, _RIGHT = 315.0, 590.0
"""Where the axis begins and ends, in pixels."""

_COLOURS = {REGRESSED: "#c0392b"}


def scoreboard_html(board: Scoreboard) -> str:
    """Draw the headline metrics (deltas with a baseline) with intervals, above the targets.

    Returns:
        An HTML fragment without scripts.
    """
    shown = [row for row in board.headlines if row.value is not None and row.low is not None]
    low = min([0.0, *(_at(row, board, "low") for row in shown)])
    high = max([0.0, *(_at(row, board, "high") for row in shown)])
    scale = (_RIGHT - _LEFT) / max(high - low, 1e-9)

    def x(value: float) -> float:
        return round(_LEFT + (value - low) * scale, 1)

    rows = []
    for row in shown:
        text = cells(row)
        centre = row.delta if board.compared else row.value
        rows.append(
            {
                "name": in_words(row.name),
                "low": x(_at(row, board, "low")),
                "high": x(_at(row, board, "high")),
                "at": x(centre or 0.0),
                "colour": _COLOURS.get(row.verdict, "#2471a3"),
                "value": f"{text['value']} ({text['delta']})" if board.compared else text["value"],
            }
        )
    axis = "change against the baseline, in points" if board.compared else "in points"
    return render(
        "board.html",
        board=board,
        rows=rows,
        zero=x(0.0),
        axis=axis,
        label=f"{board.title}: headline metrics with 95 % intervals",
        targets=[cells(row) | {"metric": in_words(row.name)} for row in board.targets],
    )


def _at(row: Row, board: Scoreboard, end: str) -> float:
    value = row.low if end == "low" else row.high
    return 0.0 if value is None else value
