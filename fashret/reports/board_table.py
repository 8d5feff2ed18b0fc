"""Print the scoreboard on the screen, with as many columns as fit; nothing is truncated."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fashret.evaluation.verdicts import INSUFFICIENT, MET, NOT_MET, PROVED, REGRESSED
from fashret.reports.metric_words import in_words
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.scoreboard_row import MUST_NOT_FALL, Row, cells
from fashret.reports.screen import GAP, empty_table

_ALWAYS = ("value", "delta", "interval", "verdict", "n")
_IN_ORDER = ("ceiling", "baseline", "p", "chance")
"""Columns that are added if they fit, the most important first."""

_NEEDS_BASELINE = ("asked", "delta", "baseline", "p")
_NAME_WIDTH = 46
"""The width reserved for the metric's name when columns are added."""

_MIN_NAME_WIDTH = 10
"""The width of a name below which numbers are wrapped as well."""

_STYLES = {
    MET: "green",
    PROVED: "bold green",
    NOT_MET: "red",
    REGRESSED: "red",
    INSUFFICIENT: "dim",
}


def show_scoreboard(board: Scoreboard, screen: Console) -> None:
    """Print the headlines, the targets, and the slices with significant regressions.

    Metrics without a value, because no query counts, are listed below the tables.

    Args:
        board: the scoreboard.
        screen: the console to print on.
    """
    centre = "delta" if board.compared else "value"
    note = f"in points (0 to 100); interval: 95 % interval of the {centre}, for new products"
    regressed = [row for row in board.slices if row.verdict == REGRESSED]
    _show(screen, board.title, board.headlines, board.compared, always=(*_ALWAYS, "ceiling"))
    _show(screen, "targets", board.targets, board.compared, always=("asked", *_ALWAYS))
    _show(screen, "significant regressions by value", regressed, board.compared, always=_ALWAYS)
    screen.print()
    screen.print(Text(note, style="dim"))
    empty = [row.name for row in (*board.headlines, *board.targets) if row.value is None]
    if empty:
        names = _by_query([in_words(name) for name in dict.fromkeys(empty)])
        screen.print(Text(f"without a value, because no query counts: {names}", overflow="fold"))


def _by_query(names: Sequence[str]) -> str:
    """Name metrics, each kind of query once: `photo -> same category, same colour; text -> ...`."""
    found: dict[str, list[str]] = {}
    for name in names:
        query, arrow, relevant = name.partition(" -> ")
        relevant = relevant.rpartition(", ")[0] or relevant
        found.setdefault(f"{query}{arrow}", []).append(relevant)
    return "; ".join(f"{query}{', '.join(dict.fromkeys(of))}" for query, of in found.items())


def _show(
    screen: Console, title: str, rows: Sequence[Row], compared: bool, *, always: Sequence[str]
) -> None:
    """Print the rows that have a value as one table, if there are any."""
    with_value = [(row, cells(row)) for row in rows if row.value is not None]
    for row, shown in with_value:
        if row.target == MUST_NOT_FALL:
            shown["asked"] = "no fall"  # a column of numbers otherwise
    if not with_value:
        return
    names = [in_words(row.name) for row, _ in with_value]
    kept = min(_NAME_WIDTH, max(map(cell_len, names)))
    widths = {
        name: max(cell_len(text) for text in (name, *(shown[name] for _, shown in with_value)))
        for name in (*always, *_IN_ORDER)
        if compared or name not in _NEEDS_BASELINE
    }
    columns = _columns(widths, always, screen.width - kept)
    roomy = _MIN_NAME_WIDTH + sum(GAP + widths[name] for name in columns) <= screen.width

    table = empty_table()
    table.add_column("metric", overflow="fold")
    for name in columns:
        table.add_column(
            name,
            justify="right",
            overflow="fold",
            no_wrap=roomy,
            max_width=widths[name],
        )
    for name, (row, shown) in zip(names, with_value, strict=True):
        texts = {column: Text(shown[column]) for column in columns}
        if "delta" in texts:
            texts["delta"].stylize({1: "green", -1: "red", 0: ""}[row.direction])
        texts["verdict"].stylize(_STYLES.get(row.verdict, ""))
        table.add_row(Text(name), *texts.values())
    screen.print()
    screen.print(Text(title, style="bold", overflow="fold"))
    screen.print()
    screen.print(table)


def _columns(widths: Mapping[str, int], always: Sequence[str], room: int) -> list[str]:
    """Choose the columns beside the name: those of `always`, and others while they fit.

    Args:
        widths: the width of every column that could be shown, the most important first.
        always: the columns that are shown in any case.
        room: the width of the screen without the name.
    """
    columns = [name for name in widths if name in always]
    room -= sum(GAP + widths[name] for name in columns)
    for name in widths:
        if name not in always:
            room -= GAP + widths[name]
            if room < 0:
                break
            columns.append(name)
    return columns
