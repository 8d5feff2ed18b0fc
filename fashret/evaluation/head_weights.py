"""Measure how the query-time weight of an attribute head trades its metric against the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fashret.evaluation.comparison import compare
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.plan import KEY_NAMES
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Weights of an attribute head that are tried; the general embedding has the weight 1."""


@dataclass(frozen=True)
class WeightPoint:
    """The metrics at one weight of an attribute head.

    Attributes:
        weight: the weight of the head, at least 0.
        value: the precision for the attribute, 0 to 1; NaN if no query has a known value.
        overall: the overall metrics, 0 to 1, by key.
        cost: the largest drop of an overall metric from its value at weight 0; 0 if none dropped.
        meets: whether the attribute's target is met; None if it has no target.
    """

    weight: float
    value: float
    overall: Mapping[str, float]
    cost: float
    meets: bool | None


@dataclass(frozen=True)
class WeightCurve:
    """The metrics of an attribute head over a range of weights.

    Attributes:
        attribute: the attribute of the head.
        key: the key of the attribute's metric.
        rise: the improvement over the baseline that its target requires; None without a target.
        points: the metrics at each weight, in ascending order of weight.
    """

    attribute: str
    key: str
    rise: float | None
    points: Sequence[WeightPoint]

    @property
    def chosen(self) -> WeightPoint | None:
        """The point that meets the target at the lowest cost (ties: lowest weight), if any."""
        reached = [point for point in self.points if point.meets]
        return min(reached, key=lambda point: (point.cost, point.weight), default=None)


def sweep_head_weights(
    plan: SplitSearch,
    embedded: SplitEmbeddings,
    baseline: Evaluation | None,
    required_rises: Mapping[str, float],
    weights: Sequence[float] = WEIGHTS,
) -> list[WeightCurve]:
    """Evaluate a split with each attribute head at a range of weights, one head at a time.

    Args:
        plan: the queries and the gallery of the split.
        embedded: the embeddings of `plan.rows`.
        baseline: the evaluation of the untrained model on the same queries; None for none.
        required_rises: the improvement over the baseline, 0 to 1, that each target requires, by
            metric key without the split.
        weights: the weights to try, ascending from 0.
    """
    split, k = KEY_NAMES[plan.split], max(plan.options.k)
    overall = [
        f"{split}/{name}@{k}"
        for name in ("image/product/hit", "image/category/precision", "text/pair/hit")
    ]
    before = {} if baseline is None else baseline.means()
    plain = _search(plan, embedded, {})
    curves = []
    for attribute in embedded.layout.attributes:
        key = f"{split}/image/{attribute}/precision@{k}"
        rise = required_rises.get(key.partition("/")[2])
        points: list[WeightPoint] = []
        for weight in weights:
            evaluation = _search(plan, embedded, {attribute: weight}) if weight else plain
            means = evaluation.means()
            known = {name: means.get(name, float("nan")) for name in overall}
            now = {name: value for name, value in known.items() if value == value}
            first = points[0].overall if points else now
            cost = max([0.0, *(first[name] - value for name, value in now.items())])
            meets = None
            if rise is not None and baseline is not None:
                reached = means[key] - before[key] >= rise
                meets = reached and compare(evaluation, baseline, [key])[key].low > 0.0
            points.append(WeightPoint(weight, means[key], now, cost, meets))
        curves.append(WeightCurve(attribute, key, rise, points))
    return curves


def _search(
    plan: SplitSearch, embedded: SplitEmbeddings, weights: Mapping[str, float]
) -> Evaluation:
    """Evaluate photo and text queries with the given head weights."""
    weighted = replace(plan, options=replace(plan.options, weights=weights))
    rankings = rank_split(
        weighted,
        embedded,
        modes=[mode for mode in ("image", "text") if mode in plan.modes],
        depth=list_depth(plan.searches["image"], max(plan.options.k)),
    )
    return Evaluation.from_rankings(
        weighted, {mode: ranking for mode, (_, ranking) in rankings.items()}
    )
