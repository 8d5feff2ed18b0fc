"""How data sets write that a value is not known."""

UNKNOWN_VALUES = (
    *("unknown", "nan", "n/a", "na", "n.a.", "<na>", "#n/a", "null", "(null)", "none", "nil"),
    *("-", "--", "\u2013", "\u2014", "?"),
)
"""Spellings of an unknown value, in any case."""
