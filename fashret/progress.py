"""Progress bars: a bar in a terminal, one line per minute in a file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

_EVERY = 60.0
"""Seconds between two lines if standard error is not a terminal."""


def progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """Show the progress of a long loop.

    Args:
        iterable: the items of the loop; None to call `update` on the result.
        options: options of tqdm, such as `desc`, `unit` and `total`.

    Returns:
        A tqdm bar. If standard error is not a terminal, it prints whole lines without control
        characters, the first after a minute.
    """
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm(iterable, **{"smoothing": 0.05} | options)
    if options.get("total") is not None or hasattr(iterable, "__len__"):
        done, left = "{percentage:3.0f}%, {n_fmt} of {total_fmt}", "{remaining} left, "
    else:
        done, left = "{n_fmt}", ""
    lines = {
        "file": _Lines(),
        "bar_format": "{desc}: " + done + "{unit}, {elapsed} passed, " + left + "{rate_fmt}",
        "delay": _EVERY,
        "mininterval": _EVERY,
        "miniters": 1,
    }
    return tqdm(iterable, **options | lines)


class _Lines:
    """A file-like object that prints each state of a bar as a line on standard error."""

    def write(self, text: str) -> None:
        """Write a state of the bar without control characters."""
        line = text.replace("\r", "").strip()
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()
