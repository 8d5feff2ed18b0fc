"""What a query gains in an attribute as its block counts for more, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fashret.evaluation.comparison import compare
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.plan import KEY_NAMES
from fashret.evaluation.ranking import Embedded, rank
from fashret.evaluation.split_search import SplitSearch

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of an attribute's block, beside 1 for the general one."""


@dataclass(frozen=True)
class Point:
    """An attribute's block at one weight.

    Attributes:
        weight: of the block.
        value: the attribute's own metric; NaN where no query knows it.
        overall: the overall metrics, by key.
        cost: the largest fall of one of them from weight 0; 0 if none fell.
        meets: whether what is asked of the attribute is reached; None where nothing is.
    """

    weight: float
    value: float
    overall: Mapping[str, float]
    cost: float
    meets: bool | None


@dataclass(frozen=True)
class Curve:
    """How an attribute's metric rises with its weight.

    Attributes:
        attribute: whose block.
        key: its metric.
        rise: what is asked of it over the baseline; None where nothing is.
        points: by rising weight.
    """

    attribute: str
    key: str
    rise: float | None
    points: Sequence[Point]

    @property
    def chosen(self) -> Point | None:
        """Where what is asked is reached at the least cost, and then at the least weight."""
        reached = [point for point in self.points if point.meets]
        return min(reached, key=lambda point: (point.cost, point.weight), default=None)


def steer(
    plan: SplitSearch,
    embedded: Embedded,
    baseline: Evaluation | None,
    asked: Mapping[str, float],
    weights: Sequence[float] = WEIGHTS,
) -> list[Curve]:
    """Search the same catalog with each attribute's block at rising weights.

    Args:
        plan: who searches what.
        embedded: by its rows, in blocks.
        baseline: of the untrained model, over the same queries; None if there is none.
        asked: by how much metrics should rise over it, by key without split.
        weights: rising, from 0.
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
        rise = asked.get(key.partition("/")[2])
        points: list[Point] = []
        for weight in weights:
            evaluation = _search(plan, embedded, {attribute: weight}) if weight else plain
            means = evaluation.means()
            now = {name: means[name] for name in overall if means[name] == means[name]}
            first = points[0].overall if points else now
            cost = max([0.0, *(first[name] - value for name, value in now.items())])
            meets = None
            if rise is not None and baseline is not None:
                reached = means[key] - before[key] >= rise
                meets = reached and compare(evaluation, baseline, [key])[key].low > 0.0
            points.append(Point(weight, means[key], now, cost, meets))
        curves.append(Curve(attribute, key, rise, points))
    return curves


def _search(plan: SplitSearch, embedded: Embedded, weights: Mapping[str, float]) -> Evaluation:
    """Photos and texts search with some weights."""
    weighted = replace(plan, options=replace(plan.options, weights=weights))
    found = rank(
        weighted,
        embedded,
        modes=("image", "text"),
        depth=list_depth(plan.searches["image"], max(plan.options.k)),
    )
    return Evaluation.from_rankings(
        weighted, {mode: ranking for mode, (_, ranking) in found.items()}
    )
