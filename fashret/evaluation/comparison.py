"""Compare two systems on the same queries: paired differences with intervals and p-values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.evaluation.evaluator import Evaluation, keys_by_queries
from fashret.evaluation.intervals import MACRO, variance_factors
from fashret.functional.bootstrap import (
    inflate_variance,
    percentile_interval,
    resampled_means,
    two_sided_p,
    widen_equal_values,
)


@dataclass(frozen=True)
class Difference:
    """The uncertainty of a mean difference, value minus baseline, over the queries.

    Attributes:
        low: lower bound of the 95 % interval; NaN if no query counts.
        high: upper bound of the 95 % interval.
        p: two-sided p-value.
    """

    low: float
    high: float
    p: float


def compare(
    evaluation: Evaluation, baseline: Evaluation, keys: Sequence[str]
) -> Mapping[str, Difference]:
    """Compare two evaluations over the same queries and gallery, metric by metric.

    Interval and p come from a paired bootstrap over whole products, widened by the design effect
    of a gallery that the queries are a part of (`functional.split_half`).

    Args:
        evaluation: the evaluation of one system.
        baseline: the evaluation of the other system, over the same queries.
        keys: keys of metrics, of slices (`[<value>]`) and of macro means (`[macro]`).

    Raises:
        ConfigError: the queries are not the same.
    """
    for name, search in evaluation.plan.searches.items():
        if not np.array_equal(search.query_rows, baseline.plan.searches[name].query_rows):
            raise ConfigError(
                "the two evaluations have different queries, so they cannot be compared: use the "
                "same split and retrieval options for both"
            )
    if not keys:
        return {}
    effects = variance_factors(evaluation.plan, [evaluation.lists, baseline.lists], keys)
    differences: dict[str, Difference] = {}
    for some in keys_by_queries(evaluation, keys):
        differences |= _compare(evaluation, baseline, some, effects)
    return {key: differences[key] for key in keys}


def _compare(
    evaluation: Evaluation, baseline: Evaluation, keys: Sequence[str], effects: Mapping[str, float]
) -> dict[str, Difference]:
    """Compare metrics that are averaged over the same queries."""
    columns: dict[str, Tensor] = {}
    members: dict[str, list[str]] = {}
    for key in keys:
        parts = _difference(evaluation, baseline, key)
        columns |= parts
        members[key] = list(parts)
    index = {name: i for i, name in enumerate(columns)}
    groups, options = evaluation.search(keys[0]).groups, evaluation.plan.options
    stacked = torch.stack(list(columns.values()), dim=1)
    means = resampled_means(stacked, groups, resamples=options.resamples, seed=options.seed)
    drawn = torch.stack(
        [means[:, [index[name] for name in members[key]]].nanmean(dim=1) for key in keys], dim=1
    )
    observed = stacked.nanmean(dim=0)
    centre = torch.stack(
        [observed[[index[name] for name in members[key]]].nanmean() for key in keys]
    )
    factors = torch.tensor([effects[key] for key in keys], dtype=torch.float64)
    drawn = inflate_variance(drawn, centre, factors)
    bounds = percentile_interval(drawn)
    differs = [not _has_equal_rankings(evaluation, baseline, key) for key in keys]
    whole = [i for i, key in enumerate(keys) if len(members[key]) == 1 and differs[i]]
    own = stacked[:, [index[members[keys[i]][0]] for i in whole]]
    bounds[:, whole] = widen_equal_values(
        bounds[:, whole], own, groups, factors[whole], paired=True
    )
    (low, high), p = bounds.tolist(), two_sided_p(drawn).tolist()
    return {key: Difference(*numbers) for key, *numbers in zip(keys, low, high, p, strict=True)}


def _has_equal_rankings(evaluation: Evaluation, baseline: Evaluation, key: str) -> bool:
    """Whether both systems have identical rankings: a difference of 0 is then certain."""
    name = evaluation.search(key).name
    return torch.equal(evaluation.rankings[name].rows, baseline.rankings[name].rows)


def _difference(evaluation: Evaluation, baseline: Evaluation, key: str) -> dict[str, Tensor]:
    """The (Q,) per-query differences that a key averages: one column, or one for each value."""
    whole, _, value = key.partition("[")
    value = value.removesuffix("]")
    change = evaluation.columns[whole].values - baseline.columns[whole].values
    if not value:
        return {key: change}
    codes, values = evaluation.slices[whole]
    wanted = values if value == MACRO else [value]
    return {
        f"{whole}[{name}]": torch.where(codes == values.index(name), change, torch.nan)
        for name in wanted
    }
