"""Spellings that data sets use for an unknown value."""

UNKNOWN_VALUES = (
    *("unknown", "nan", "n/a", "na", "n.a.", "<na>", "#n/a", "null", "(null)", "none", "nil"),
    *("-", "--", "\u2013", "\u2014", "?"),
)
"""Spellings of an unknown value, in any case."""
