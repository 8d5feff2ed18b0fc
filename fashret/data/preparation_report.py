"""The preparation report: rows of a source that were kept, dropped and repaired."""

import logging
from collections import Counter, defaultdict
from typing import Any

log = logging.getLogger(__name__)

_EXAMPLES = 20


class Report:
    """Counts rows in, kept, dropped and repaired, with examples of each reason.

    `rows_in == rows_kept + sum(dropped.values())` once preparation has ended.
    """

    def __init__(self) -> None:
        self.rows_in = 0
        self.rows_kept = 0
        self.dropped: Counter[str] = Counter()
        self.repaired: Counter[str] = Counter()
        self.notes: list[str] = []
        self.stated_splits: set[str] = set()
        self.photo_copies: dict[str, Any] = {}
        self.coverage: dict[str, dict[str, list[int]]] = {}
        self._disagreements: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._measured: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def drop(self, reason: str, example: str) -> None:
        """Count a row that is left out of the table."""
        self.dropped[reason] += 1
        self._example(reason, example)

    def repair(self, reason: str, example: str) -> None:
        """Count a row that was changed on its way into the table."""
        self.repaired[reason] += 1
        self._example(reason, example)

    def include(self, other: "Report") -> None:
        """Add the rows in, drops, repairs, examples and notes of another report."""
        self.rows_in += other.rows_in
        self.dropped += other.dropped
        self.repaired += other.repaired
        self.notes += other.notes
        for reason, examples in other._examples.items():
            for example in examples:
                self._example(reason, example)

    def note(self, text: str) -> None:
        """Add a note about the whole data set."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Add a note about a likely mistake, and log it as a warning."""
        self.notes.append(text)
        log.warning("%s", text)

    def expect(self, what: str, expected: int, found: int) -> None:
        """Warn if a copy of a data set does not have the expected number of rows or items."""
        if found != expected:
            self.warn(
                f"{found:,} {what}, expected {expected:,}: continuing with an incomplete copy"
            )

    def cover(self, attribute: str, category: str, *, known: bool) -> None:
        """Count an item of a category by whether an attribute of it is known."""
        counts = self.coverage.setdefault(attribute, {}).setdefault(category, [0, 0])
        counts[0] += known
        counts[1] += 1

    def disagree(self, attribute: str, stated: str, read: str, example: str) -> None:
        """Count an item whose stated value contradicts its text."""
        self._disagreements[attribute][f"{stated}, text: {read}"] += 1
        self._example(f"{attribute}: the text states another value", example)

    def measure(self, attribute: str, read: str | None, truth: str) -> None:
        """Count a value that was extracted from a text against the true one."""
        counts = self._measured[attribute]
        counts["read"] += read is not None
        counts["true"] += truth != "unknown"
        counts["right"] += read == truth

    @property
    def extraction(self) -> dict[str, dict[str, float]]:
        """Precision and recall, 0 to 1, of attributes extracted from texts, by attribute."""
        return {
            name: {
                "precision": counts["right"] / max(1, counts["read"]),
                "recall": counts["right"] / max(1, counts["true"]),
                "n": counts["true"],
            }
            for name, counts in self._measured.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the report as it is written to report.json."""
        return {
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "dropped": dict(self.dropped),
            "repaired": dict(self.repaired),
            "examples": dict(self._examples),
            "notes": self.notes,
            "photo_copies": self.photo_copies,
            "coverage": self.coverage,  # [known, all] by attribute and category
            "disagreements": {
                name: dict(counts.most_common()) for name, counts in self._disagreements.items()
            },
            "extraction": self.extraction,
        }

    def summary(self) -> str:
        """Summarise the counts in one line."""
        parts = [f"{self.rows_kept} of {self.rows_in} rows kept"]
        parts += [f"dropped {n}: {reason}" for reason, n in self.dropped.items()]
        parts += [f"repaired {n}: {reason}" for reason, n in self.repaired.items()]
        return "; ".join(parts)

    def _example(self, reason: str, example: str) -> None:
        if len(self._examples[reason]) < _EXAMPLES:
            self._examples[reason].append(example)
