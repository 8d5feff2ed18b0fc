"""Acceptance targets of a run: metrics that should rise, or that must not fall."""

import difflib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fashret.errors import ConfigError
from fashret.evaluation.judged import BANDS

log = logging.getLogger(__name__)

_METRIC = re.compile(
    r"(?P<whole>(?:[^/\[\]]+/)+(?P<relevance>[^/\[\]]+)/[^/\[\]]+)(\[(?P<value>.*)\])?"
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """An acceptance target: a metric that should rise, or that must not fall.

    Args:
        metric: a metric key without its split, such as `image/neckline/precision@10`, with
            `[<value>]` or `[macro]` appended for a slice.
        rise: the required rise, above 0 and at most 1 (0.05 is 5 points); None: it must not fall.
        margin: the largest accepted fall, 0 to 1, of a metric that must not fall.

    Raises:
        ConfigError: the rise or the margin is out of its range.
    """

    metric: str
    rise: float | None
    margin: float = 0.02

    def __post_init__(self) -> None:
        if self.rise is not None and not 0.0 < self.rise <= 1.0:
            raise ConfigError(
                f"targets: {self.metric} has rise={self.rise}; it must be above 0 and "
                "at most 1 (0.05 is 5 points), or null for a metric that must not fall"
            )
        if not 0.0 <= self.margin <= 1.0:
            raise ConfigError(
                f"targets: {self.metric} has margin={self.margin}; it must be within 0 and 1 "
                "(0.02 is 2 points)"
            )


def usable_targets(
    targets: Mapping[str, Target],
    *,
    metrics: Sequence[str],
    sliced: Collection[str],
    values: Mapping[str, Sequence[str]],
    given: Collection[str],
) -> list[Target]:
    """Return the targets whose metric exists for the data; warn of the others.

    Args:
        targets: the targets by name.
        metrics: the metric keys of an evaluation, without split and slices.
        sliced: the metrics that are reported by value, such as `precision`.
        values: the values in the data, by name of the attribute (or `category`).
        given: the names of targets that the user set, on the command line or in an experiment.

    Raises:
        ConfigError: a target that the user set names a metric or a value that does not exist.
    """
    usable = []
    for name, target in targets.items():
        fault = _fault(target.metric, metrics, sliced, values)
        if fault is None:
            usable.append(target)
        elif name in given:
            raise ConfigError(f"targets.{name}.metric={target.metric}: {fault}")
        else:
            log.warning("ignoring the target %s=%s: %s", name, target.metric, fault)
    return usable


def _fault(
    metric: str,
    metrics: Sequence[str],
    sliced: Collection[str],
    values: Mapping[str, Sequence[str]],
) -> str | None:
    """Explain why a metric does not exist, with the nearest name; None if it exists."""
    match = _METRIC.fullmatch(metric)
    if match is None or match["whole"] not in metrics:
        whole = metric if match is None else match["whole"]
        return f"there is no such metric; {_near(whole, metrics)}"
    value = match["value"]
    if value is None:
        return None
    if match["relevance"] == "judged" and value in (*BANDS, "macro"):
        return None
    if match["relevance"] not in values:
        return (
            f"{match['relevance']} has no values to slice by; {_near(match['relevance'], values)}"
        )
    kind = match["whole"].rpartition("/")[2].partition("@")[0]
    if kind not in sliced:
        return f"{kind} is not reported by value: add it to retrieval.slice_metrics"
    known = [*values[match["relevance"]], "macro"]
    if value not in known:
        return f"the data has no {match['relevance']} '{value}'; {_near(value, known)}"
    return None


def _near(name: str, known: Collection[str]) -> str:
    """Suggest the nearest of the known names, or list a few of them."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"did you mean {folded[near[0]]}?"
    return f"choose from {', '.join(sorted(known)[:8])}" if known else "there are none"
