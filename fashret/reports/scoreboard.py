"""The scoreboard: targets, headline metrics and slices of an evaluation, with verdicts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fashret.evaluation.comparison import Difference, compare
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.plan import Plan
from fashret.evaluation.targets import Target
from fashret.evaluation.verdicts import (
    INSUFFICIENT,
    NOT_MET,
    REGRESSED,
    SIGNIFICANT,
    is_enough,
    is_regression,
    verdict,
)
from fashret.functional.bootstrap import holm_adjust
from fashret.reports.scoreboard_row import MUST_NOT_FALL, Row, markdown_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scoreboard:
    """The targets, headline metrics and slices of an evaluation.

    Attributes:
        title: the title: the systems, the data and the split.
        targets: one row for each target.
        headlines: one row for each query mode and relevance.
        slices: the precision of photo queries by value of the category and each attribute, and
            judged queries by their frequency.
        compared: whether there is a baseline.
    """

    title: str
    targets: Sequence[Row]
    headlines: Sequence[Row]
    slices: Sequence[Row]
    compared: bool

    @classmethod
    def from_evaluation(
        cls,
        title: str,
        evaluation: Evaluation,
        results: Mapping[str, Mapping[str, Any]],
        baseline: Evaluation | None,
        targets: Sequence[Target],
        products: Mapping[str, int],
        *,
        against_run: bool = False,
    ) -> "Scoreboard":
        """Make the scoreboard of an evaluation.

        Args:
            title: the title of the scoreboard.
            evaluation: the evaluation of the system.
            results: its metrics by key, as in metrics.json.
            baseline: the evaluation of the baseline on the same queries; None for none.
            targets: the acceptance targets; ignored without a baseline.
            products: the number of products among the counted queries, by key.
            against_run: whether the baseline is another run. Metrics with a target are then also
                tested for regressions, in the tables of headlines and slices.
        """
        plan = evaluation.plan
        split = plan.prefix.partition("/")[0]
        headlines = _headline_keys(plan)
        slices = _slice_keys(plan, results)
        by_key = {} if baseline is None else {f"{split}/{t.metric}": t for t in targets}
        keys = list(dict.fromkeys([*by_key, *headlines, *slices]))
        present = [key for key in keys if key in results]
        changes: Mapping[str, Difference] = {}
        before: Mapping[str, float] = {}
        if baseline is not None:
            # A catalog as the baseline has no model, and so no judged queries.
            shared = [key for key in present if key.split("[")[0] in baseline.columns]
            changes, before = compare(evaluation, baseline, shared), baseline.means()
        rows = {key: _row(key, results.get(key), before.get(key), changes.get(key)) for key in keys}
        enough = {key: is_enough(key, rows[key].n, products.get(key, rows[key].n)) for key in keys}
        watched = [key for key in present if against_run or key not in by_key]
        tested = [key for key in watched if enough[key] and key in changes]
        resamples = plan.options.resamples
        if tested and len(tested) / (resamples + 1) >= SIGNIFICANT:
            log.warning(
                "retrieval.resamples=%d is too few to detect a significant change among %d "
                "metrics: use at least %d",
                resamples,
                len(tested),
                int(len(tested) / SIGNIFICANT),
            )
        verdicts = [_with_verdict(rows[key], target, enough[key]) for key, target in by_key.items()]
        for key, p in zip(tested, holm_adjust([changes[key].p for key in tested]), strict=True):
            if is_regression(rows[key].delta or 0.0, p):
                rows[key] = replace(rows[key], verdict=REGRESSED)
        for key in present:
            if not enough[key]:
                rows[key] = replace(rows[key], verdict=INSUFFICIENT)
        return cls(
            title,
            verdicts,
            [rows[key] for key in headlines],
            [rows[key] for key in slices],
            baseline is not None,
        )

    @property
    def not_met(self) -> list[str]:
        """The names of the targets that are not met."""
        return [row.name for row in self.targets if row.verdict == NOT_MET]

    @property
    def regressed(self) -> list[str]:
        """The names of the metrics that regressed."""
        rows = (*self.headlines, *self.slices)
        return [row.name for row in rows if row.verdict == REGRESSED]

    def to_dict(self) -> dict[str, Any]:
        """Return the scoreboard as in scoreboard.json."""
        with_target = {row.key for row in self.targets}
        watched = [row for row in (*self.headlines, *self.slices) if row.key not in with_target]
        return {
            "title": self.title,
            "rows": [asdict(row) for row in self.targets],
            "watched": [asdict(row) for row in watched],
        }

    def to_markdown(self) -> str:
        """Return the scoreboard as in scoreboard.md."""
        centre = "the delta's" if self.compared else "the value's"
        parts = [
            f"# {self.title}",
            "",
            f"Values in points (0 to 100); the interval is {centre} 95 % interval for new "
            "products; "
            "chance is the expected value of a random ranking, ceiling the best possible value. "
            f"{REGRESSED} marks a significant regression (p < {SIGNIFICANT}, Holm-corrected over "
            f"all watched metrics), {INSUFFICIENT} a metric of too few queries or products.",
        ]
        if self.targets:
            parts += ["", "## Targets", "", *markdown_table(_TARGETS, self.targets)]
        shown = [row for row in self.headlines if row.value is not None]
        empty = [row.name for row in self.headlines if row.value is None]
        if shown:
            parts += ["", "## Headlines", "", *markdown_table(_METRICS, shown)]
        if empty:
            parts += ["", f"Without a value, because no query counts: {', '.join(empty)}."]
        if self.slices:
            parts += ["", "## By value", "", *markdown_table(_METRICS, self.slices)]
        return "\n".join(parts) + "\n"


_METRICS = (
    "metric", "baseline", "value", "delta", "interval", "p", "n", "verdict", "chance", "ceiling",
)  # fmt: skip
_TARGETS = ("metric", "asked", "baseline", "value", "delta", "interval", "p", "n", "verdict")


def _headline_keys(plan: Plan) -> list[str]:
    return [
        f"{plan.prefix}/{task.name}/{metric}" for task in plan.tasks for metric in task.headlines
    ]


def _slice_keys(plan: Plan, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The keys of the headline metrics by value: of photo queries, and of tasks that ask for it."""
    by_photo = "image" if "image" in plan.searches else next(iter(plan.searches))
    keys: list[str] = []
    for task in plan.tasks:
        if task.values is not None and (task.search == by_photo or task.sliced):
            for metric in task.headlines:
                stem = f"{plan.prefix}/{task.name}/{metric}["
                keys += [key for key in results if key.startswith(stem)]
    return keys


def _row(
    key: str,
    now: Mapping[str, Any] | None,
    before: float | None,
    change: Difference | None,
) -> Row:
    """The row of a metric without its verdict; empty if the data has no queries for it."""
    name = key.partition("/")[2]
    if now is None:
        return Row(key, name, None, None, None, None, None, None, 0, None, None)
    before = None if before is None or before != before else before
    delta = None if now["value"] is None or before is None else now["value"] - before
    low, high, p = now["low"], now["high"], None
    if change is not None:
        low, high, p = (None if x != x else x for x in (change.low, change.high, change.p))
    ends = (now["ceiling"], now["chance"])
    return Row(key, name, before, now["value"], delta, low, high, p, now["n"], *ends)


def _with_verdict(row: Row, target: Target, enough: bool) -> Row:
    """The row with its target and the verdict on it."""
    text = MUST_NOT_FALL if target.rise is None else f"{100 * target.rise:+g}"
    if not enough or row.delta is None or row.low is None or row.high is None:
        return replace(row, target=text, verdict=INSUFFICIENT)
    return replace(
        row,
        target=text,
        rise=target.rise,
        margin=target.margin if target.rise is None else None,
        verdict=verdict(row.delta, row.low, rise=target.rise, margin=target.margin),
    )
