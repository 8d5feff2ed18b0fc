"""Suggest the nearest existing names for a name that does not exist. Light to import."""

import difflib
from collections.abc import Iterable

SHOWN = 8
"""The maximum number of names in a suggestion."""


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Suggest the existing names that are nearest to a wrong one, the nearest first.

    At most `SHOWN` are named; the suggestion says how many more there are.

    Args:
        name: the wrong name.
        known: the existing names.
        prefix: a prefix of the nearest name, such as its parent key.

    >>> nearest("max_epoch", ["max_steps", "max_epochs", "devices"])
    'did you mean max_epochs? (also near: max_steps; 1 more)'
    >>> nearest("loss", [])
    'there are none'
    """
    ranked = _ranked(name, known)
    near = [other for other in ranked[:SHOWN] if _similarity(name, other) >= 0.6]
    if not near:
        return f"there are {listed(name, sorted(ranked))}"
    rest = len(ranked) - len(near)
    beside = [f"also near: {', '.join(near[1:])}"] if near[1:] else []
    beside += [f"{rest} more"] if rest else []
    return f"did you mean {prefix}{near[0]}?" + (f" ({'; '.join(beside)})" if beside else "")


def listed(name: str, known: Iterable[str]) -> str:
    """List the existing names in their order; of more than `SHOWN`, the nearest to a wrong name.

    >>> listed("collar", ["neckline", "material"])
    'neckline, material'
    """
    names = list(dict.fromkeys(known))
    if len(names) <= SHOWN:
        return ", ".join(names) or "none"
    return f"{', '.join(_ranked(name, names)[:SHOWN])} and {len(names) - SHOWN} more"


def _ranked(name: str, known: Iterable[str]) -> list[str]:
    """The existing names, the nearest to a name first."""
    return sorted(set(known), key=lambda other: (-_similarity(name, other), other))


def _similarity(name: str, other: str) -> float:
    """The similarity of two names, 0 to 1, ignoring case."""
    return difflib.SequenceMatcher(None, name.casefold(), other.casefold()).ratio()
