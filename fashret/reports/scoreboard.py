"""The scoreboard: what was, what is, by how much, and whether that is what was asked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fashret.evaluation.comparison import Difference, compare
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.plan import Plan
from fashret.evaluation.targets import INSUFFICIENT, NOT_MET, Target, verdict
from fashret.functional.bootstrap import holm_adjust

log = logging.getLogger(__name__)

ENOUGH_QUERIES = 30
ENOUGH_PRODUCTS = 20
"""A metric of fewer queries, or of queries of fewer products, gets no verdict."""

SIGNIFICANT = 0.05

REGRESSED = "REGRESSED"


@dataclass(frozen=True)
class Row:
    """One metric of a scoreboard.

    Attributes:
        key: of the metric.
        name: the key without its split.
        baseline: the other system's value, None where no query counts.
        value: the model's.
        delta: value minus baseline.
        low: of the delta's 95 % interval; of the value's where there is no other system.
        high: of it.
        p: of the delta, two-sided; None where there is no other system.
        n: queries counted.
        ceiling: the best possible value.
        chance: a random ranking's.
        target: what is asked for, in words; "" of a metric that is only watched.
        verdict: proved, met, not met or insufficient for a target; REGRESSED, insufficient or ""
            for another metric.
        rise: what a target asks for; None where it must not fall, and for another metric.
        margin: the fall that is accepted of a target that must not fall.
    """

    key: str
    name: str
    baseline: float | None
    value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    ceiling: float | None
    chance: float | None
    target: str = ""
    verdict: str = ""
    rise: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Scoreboard:
    """What was asked for, the headline metrics of a split, and the slices by value.

    Attributes:
        title: what is compared.
        targets: a row a target.
        headlines: a row a mode and relevance.
        slices: image precision by value of the category and each attribute.
        compared: whether there is another system beside the model.
    """

    title: str
    targets: Sequence[Row]
    headlines: Sequence[Row]
    slices: Sequence[Row]
    compared: bool

    @classmethod
    def of(
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
        """Choose the rows of an evaluation, and give each its verdict.

        Args:
            title: what is compared.
            evaluation: of the model.
            results: its, by key, as metrics.json holds them.
            baseline: of the other system; None where the model stands alone.
            targets: what is asked for; nothing is, of a model that stands alone.
            products: by key, the number of products whose queries count.
            against_run: whether the baseline is another run. Metrics that are targets are then
                tested for regressions as well, in the tables of headlines and slices.
        """
        plan = evaluation.plan
        split = plan.prefix.partition("/")[0]
        headlines = _headline_keys(plan)
        slices = _slice_keys(plan, results)
        asked = {} if baseline is None else {f"{split}/{t.metric}": t for t in targets}
        keys = list(dict.fromkeys([*asked, *headlines, *slices]))
        known = [key for key in keys if key in results]
        changes: Mapping[str, Difference] = {}
        before: Mapping[str, float] = {}
        if baseline is not None:
            changes, before = compare(evaluation, baseline, known), baseline.means()
        rows = {key: _row(key, results.get(key), before.get(key), changes.get(key)) for key in keys}
        enough = {key: _is_enough(rows[key], products) for key in keys}
        watched = [key for key in known if against_run or key not in asked]
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
        judged = [_judged(rows[key], target, enough[key]) for key, target in asked.items()]
        for key, p in zip(tested, holm_adjust([changes[key].p for key in tested]), strict=True):
            if p < SIGNIFICANT and (rows[key].delta or 0.0) < 0.0:
                rows[key] = replace(rows[key], verdict=REGRESSED)
        for key in known:
            if not enough[key]:
                rows[key] = replace(rows[key], verdict=INSUFFICIENT)
        return cls(
            title,
            judged,
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
        """As scoreboard.json holds it."""
        asked = {row.key for row in self.targets}
        watched = [row for row in (*self.headlines, *self.slices) if row.key not in asked]
        return {
            "title": self.title,
            "rows": [asdict(row) for row in self.targets],
            "watched": [asdict(row) for row in watched],
        }

    def to_markdown(self) -> str:
        """As scoreboard.md shows it."""
        of = "the delta's" if self.compared else "the value's"
        parts = [
            f"# {self.title}",
            "",
            f"Values in points (0 to 100); the interval is {of} 95 % interval for new products; "
            "chance is the expected value of a random ranking, ceiling the best possible value. "
            f"{REGRESSED} marks a significant regression (p < {SIGNIFICANT}, Holm-corrected over "
            f"all watched metrics), {INSUFFICIENT} a metric of too few queries or products.",
        ]
        if self.targets:
            parts += ["", "## Targets", "", *_markdown_table(_TARGETS, self.targets)]
        parts += ["", "## Headlines", "", *_markdown_table(_METRICS, self.headlines)]
        if self.slices:
            parts += ["", "## By value, image queries", "", *_markdown_table(_METRICS, self.slices)]
        return "\n".join(parts) + "\n"


MUST_NOT_FALL = "must not fall"

_METRICS = (
    "metric", "baseline", "value", "delta", "interval", "p", "n", "verdict", "chance", "ceiling",
)  # fmt: skip
_TARGETS = ("metric", "asked", "baseline", "value", "delta", "interval", "p", "n", "verdict")


def _headline_keys(plan: Plan) -> list[str]:
    return [
        f"{plan.prefix}/{task.name}/{metric}" for task in plan.tasks for metric in task.headlines
    ]


def _slice_keys(plan: Plan, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The headlines by value, of the search by photo where there is one."""
    by_photo = "image" if "image" in plan.searches else next(iter(plan.searches))
    keys: list[str] = []
    for task in plan.tasks:
        if task.values is not None and task.search == by_photo:
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
    """A metric beside its baseline; one that the data has no queries for is empty."""
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


def _is_enough(row: Row, products: Mapping[str, int]) -> bool:
    """Whether a metric has queries and products enough; of a macro mean n is the values."""
    if row.key.endswith("[macro]"):
        return row.n > 0
    enough_products = products.get(row.key, row.n) >= ENOUGH_PRODUCTS
    return row.n >= ENOUGH_QUERIES and enough_products


def _judged(row: Row, target: Target, enough: bool) -> Row:
    """A row with what is asked of it, and whether it was reached."""
    asked = MUST_NOT_FALL if target.rise is None else f"{100 * target.rise:+g}"
    if not enough or row.delta is None or row.low is None or row.high is None:
        return replace(row, target=asked, verdict=INSUFFICIENT)
    return replace(
        row,
        target=asked,
        rise=target.rise,
        margin=target.margin if target.rise is None else None,
        verdict=verdict(row.delta, row.low, rise=target.rise, margin=target.margin),
    )


def cells(row: Row) -> dict[str, str]:
    """A row as text, by the names of the columns."""
    low, high = _signed(row.low), _signed(row.high)
    if row.p is None:
        low, high = _points(row.low), _points(row.high)
    return {
        "metric": row.name,
        "asked": row.target,
        "baseline": _points(row.baseline),
        "value": _points(row.value),
        "delta": "" if row.delta is None else _signed(row.delta),
        "interval": "" if row.low is None else f"{low} to {high}",
        "p": "" if row.p is None else f"{row.p:.4f}" if row.p >= 0.001 else "<0.001",
        "n": str(row.n),
        "verdict": row.verdict,
        "chance": _points(row.chance),
        "ceiling": _points(row.ceiling),
    }


def _markdown_table(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in rows:
        shown = cells(row)
        escaped = [shown[column].replace("|", "\\|") for column in columns]
        lines.append(f"| {' | '.join(escaped)} |")
    return lines


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"
