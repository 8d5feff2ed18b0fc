"""Summarise a target over runs that differ only in their seed. Light to import."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from fashret.evaluation.verdicts import INSUFFICIENT, verdict

_NORMAL = 1.96

_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom."""


@dataclass(frozen=True)
class OverSeeds:
    """The change of a target's metric over several seeds.

    Attributes:
        delta: the mean change.
        spread: the standard deviation of the change between seeds.
        low: lower bound of the 95 % interval of the mean change, for new products and new seeds.
        high: upper bound of that interval.
        verdict: the verdict on the mean change by that interval.
    """

    delta: float
    spread: float
    low: float
    high: float
    verdict: str


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> OverSeeds | None:
    """Summarise a target over several runs that differ only in their seed.

    The interval of one run covers the sampling of products, not of the seed. All seeds share their
    products, so that this part does not shrink with the number of seeds; the spread between seeds
    does:

        half width^2 = (1.96 SE)^2 + (t(S - 1) spread)^2 / S

    with SE the mean standard error of the runs' own intervals and S the number of seeds.

    Args:
        rows: the row of the target in each run's scoreboard.json.

    Returns:
        The summary; None for fewer than two rows, or if a run has no value.
    """
    if len(rows) < 2 or any(row["delta"] is None or row["low"] is None for row in rows):
        return None
    deltas = [float(row["delta"]) for row in rows]
    errors = [(float(row["high"]) - float(row["low"])) / (2.0 * _NORMAL) for row in rows]
    mean, spread = fmean(deltas), stdev(deltas)
    student = _STUDENT[len(rows) - 2] if len(rows) - 2 < len(_STUDENT) else 2.2
    half = math.hypot(_NORMAL * fmean(errors), student * spread / math.sqrt(len(rows)))
    if any(row["verdict"] == INSUFFICIENT and row.get("rise") is not None for row in rows):
        return OverSeeds(mean, spread, mean - half, mean + half, INSUFFICIENT)
    margin = rows[0].get("margin")
    reached = verdict(
        mean, mean - half, rise=rows[0].get("rise"), margin=0.0 if margin is None else margin
    )
    return OverSeeds(mean, spread, mean - half, mean + half, reached)


def without_seed(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides without the seed: equal for runs that differ only in their seed."""
    return tuple(override for override in overrides if not override.startswith("seed="))
