"""Print tables on the screen without truncating them. Light to import."""

import os
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""The width in characters of an output that is not a terminal."""

GAP = 2
"""Spaces between two columns of a table."""

_MAX_CELL_WIDTH = 28


def console() -> Console:
    """Return the console: as wide as the terminal or COLUMNS, else 100 characters."""
    screen = Console()
    has_width = screen.file.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return screen if has_width else Console(width=WIDTH)


def empty_table() -> Table:
    """Return a table without columns, in the common style."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def show_table(screen: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns that do not fit the width follow in further tables.

    Each further table repeats the first column. A long cell is wrapped.

    Args:
        screen: the console to print on.
        header: the names of the columns; the first column names the rows.
        rows: the cells of each row.
    """
    widths = [
        max(
            min(_MAX_CELL_WIDTH, max((_width(row[i]) for row in rows), default=0)),
            max(map(cell_len, name.split()), default=0),
        )
        for i, name in enumerate(header)
    ]
    first = min(widths[0], screen.width // 4)
    for shown in _parts(widths[1:], screen.width - first):
        table = empty_table()
        left = screen.width - sum(GAP + widths[i] for i in shown)
        table.add_column(Text(header[0]), overflow="fold", max_width=max(left, first))
        for i in shown:
            table.add_column(Text(header[i]), justify="right", overflow="fold", width=widths[i])
        for row in rows:
            if 1 in shown or any(row[i] for i in shown):
                table.add_row(*(Text(row[i]) for i in (0, *shown)))
        screen.print()
        screen.print(table)
    screen.print()


def _width(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """The numbers, from 1, of the columns in each table."""
    parts: list[list[int]] = [[]]
    used = 0
    for number, width in enumerate(widths, 1):
        if parts[-1] and used + GAP + width > room:
            parts.append([])
            used = 0
        parts[-1].append(number)
        used += GAP + width
    return parts
