"""What happened to the rows of a source on their way into the item table."""

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
        """Count a row that does not reach the table."""
        self.dropped[reason] += 1
        self._example(reason, example)

    def repair(self, reason: str, example: str) -> None:
        """Count a row that reached the table changed."""
        self.repaired[reason] += 1
        self._example(reason, example)

    def note(self, text: str) -> None:
        """Say something about the set as a whole."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Say something about the set that is likely not meant: in the report and on the screen."""
        self.notes.append(text)
        log.warning("%s", text)

    def expect(self, what: str, expected: int, found: int) -> None:
        """Say so where a copy of a set does not have what the whole set has."""
        if found != expected:
            self.warn(f"{found:,} {what}, expected {expected:,}: continuing with what is there")

    def cover(self, attribute: str, category: str, *, known: bool) -> None:
        """Count an item of a category by whether an attribute of it is known."""
        counts = self.coverage.setdefault(attribute, {}).setdefault(category, [0, 0])
        counts[0] += known
        counts[1] += 1

    def disagree(self, attribute: str, stated: str, read: str, example: str) -> None:
        """Count an item whose set states one value and whose text another."""
        self._disagreements[attribute][f"{stated}, text: {read}"] += 1
        self._example(f"{attribute}: the text says something else", example)

    def measure(self, attribute: str, read: str | None, truth: str) -> None:
        """Count what was read from a text against what is true."""
        counts = self._measured[attribute]
        counts["read"] += read is not None
        counts["true"] += truth != "unknown"
        counts["right"] += read == truth

    @property
    def extraction(self) -> dict[str, dict[str, float]]:
        """Precision and recall of what was read from texts, where the truth is known."""
        return {
            name: {
                "precision": counts["right"] / max(1, counts["read"]),
                "recall": counts["right"] / max(1, counts["true"]),
                "n": counts["true"],
            }
            for name, counts in self._measured.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The report as it stands in report.json."""
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
        """One line for the screen."""
        parts = [f"{self.rows_kept} of {self.rows_in} rows kept"]
        parts += [f"dropped {n}: {reason}" for reason, n in self.dropped.items()]
        parts += [f"repaired {n}: {reason}" for reason, n in self.repaired.items()]
        return "; ".join(parts)

    def _example(self, reason: str, example: str) -> None:
        if len(self._examples[reason]) < _EXAMPLES:
            self._examples[reason].append(example)
