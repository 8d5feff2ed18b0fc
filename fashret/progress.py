"""Progress of long work: a bar in a terminal, a line a minute in a file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


def progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """Show how far long work is.

    Args:
        iterable: what is worked through; None to call `update` on the result.
        options: tqdm's, such as `desc`, `unit` and `total`.

    Returns:
        A tqdm bar. Where standard error is no terminal it prints whole lines, the first after a
        minute, without control characters.
    """
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm(iterable, **{"smoothing": 0.05} | options)
    share = "{percentage:3.0f}%, " if "total" in options or hasattr(iterable, "__len__") else ""
    lines = {
        "file": _Lines(),
        "bar_format": "{desc}: " + share + "{n_fmt} of {total_fmt}{unit}, {elapsed} passed, "
        "{remaining} left, {rate_fmt}",
        "delay": _EVERY,
        "mininterval": _EVERY,
        "miniters": 1,
    }
    return tqdm(iterable, **options | lines)


class _Lines:
    """Standard error, with a line in place of each state of a bar."""

    def write(self, text: str) -> None:
        """Write a state of the bar; what only moves the cursor is left out."""
        told = text.replace("\r", "").strip()
        if told:
            sys.stderr.write(f"{told}\n")

    def flush(self) -> None:
        """Hand on what was written."""
        sys.stderr.flush()
