"""Hints at the right name where a wrong one was given. Light to import."""

import difflib
from collections.abc import Iterable

SHOWN = 8
"""Names in a hint, at most."""


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint at the known names that are nearest to a wrong one, the nearest first.

    At most `SHOWN` are named; the hint says how many more there are.

    Args:
        name: what was given.
        known: what there is.
        prefix: stands before the nearest name in the hint.

    >>> nearest("max_epoch", ["max_steps", "max_epochs", "devices"])
    'did you mean max_epochs? (also near: max_steps; 1 more)'
    >>> nearest("loss", [])
    'there are none'
    """
    ranked = _ranked(name, known)
    near = [other for other in ranked[:SHOWN] if _likeness(name, other) >= 0.6]
    if not near:
        return f"there are {listed(name, sorted(ranked))}"
    rest = len(ranked) - len(near)
    beside = [f"also near: {', '.join(near[1:])}"] if near[1:] else []
    beside += [f"{rest} more"] if rest else []
    return f"did you mean {prefix}{near[0]}?" + (f" ({'; '.join(beside)})" if beside else "")


def listed(name: str, known: Iterable[str]) -> str:
    """The known names in their order; of more than `SHOWN` those that are nearest to a wrong one.

    >>> listed("collar", ["neckline", "material"])
    'neckline, material'
    """
    names = list(dict.fromkeys(known))
    if len(names) <= SHOWN:
        return ", ".join(names) or "none"
    return f"{', '.join(_ranked(name, names)[:SHOWN])} and {len(names) - SHOWN} more"


def _ranked(name: str, known: Iterable[str]) -> list[str]:
    """The known names, those nearest to a name first."""
    return sorted(set(known), key=lambda other: (-_likeness(name, other), other))


def _likeness(name: str, other: str) -> float:
    """How alike two names are, 0 to 1; the case of letters does not matter."""
    return difflib.SequenceMatcher(None, name.casefold(), other.casefold()).ratio()
