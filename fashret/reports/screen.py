"""Tables on the screen from which nothing is cut. Light to import."""

import os
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""Columns of an output that is not a terminal."""

GAP = 2
"""Spaces between two columns of a table."""

_WIDEST = 28


def console() -> Console:
    """The screen: as wide as the terminal, or as COLUMNS says; 100 columns without either."""
    screen = Console()
    known = screen.file.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return screen if known else Console(width=WIDTH)


def empty_table() -> Table:
    """A table without columns, in the style of all."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def show_table(screen: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the columns that the width has no room for follow in further tables.

    Each of these begins with the first column again. A long cell takes several lines.

    Args:
        screen: the console that is printed on.
        header: the names of the columns; the first one names the rows.
        rows: the cells of each row.
    """
    widths = [
        max(
            min(_WIDEST, max((_width(row[i]) for row in rows), default=0)),
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
    """The numbers, from 1, of the columns that stand together in one table."""
    parts: list[list[int]] = [[]]
    used = 0
    for number, width in enumerate(widths, 1):
        if parts[-1] and used + GAP + width > room:
            parts.append([])
            used = 0
        parts[-1].append(number)
        used += GAP + width
    return parts
