"""What a run is asked for: metrics that should rise, or must not fall."""

import difflib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fashret.errors import ConfigError

log = logging.getLogger(__name__)

_METRIC = re.compile(
    r"(?P<whole>(?:[^/\[\]]+/)+(?P<relevance>[^/\[\]]+)/[^/\[\]]+)(\[(?P<value>.*)\])?"
)


MET, PROVED, NOT_MET, INSUFFICIENT = "met", "proved", "not met", "insufficient"


def verdict(delta: float, low: float, *, rise: float | None, margin: float) -> str:
    """What a change says of what is asked.

    Args:
        delta: the change of the metric.
        low: the lower bound of its 95 % interval.
        rise: what is asked; None where the metric must not fall.
        margin: the largest fall that is accepted where it must not fall.

    Returns:
        For a rise: `proved` if the whole interval is at or above it, `met` if the change is and the
        interval is above 0, else `not met`. For what must not fall: `met` if the interval excludes
        a fall of more than the margin, `not met` if the change itself is one, else `insufficient`.
    """
    if rise is None:
        if low >= -margin:
            return MET
        return NOT_MET if delta < -margin else INSUFFICIENT
    if low >= rise:
        return PROVED
    return MET if delta >= rise and low > 0 else NOT_MET


@dataclass(frozen=True, kw_only=True)
class Target:
    """A metric that should rise, or must not fall.

    Args:
        metric: a key without its split, such as `image/neckline/precision@10`, with `[<value>]`
            or `[macro]` behind it for a slice.
        rise: by how much, between 0 and 1 (0.05 is 5 points); None: it must not fall.
        margin: for a metric that must not fall, the largest fall that is accepted, 0 to 1.

    Raises:
        ConfigError: the rise or the margin is out of its range.
    """

    metric: str
    rise: float | None
    margin: float = 0.02

    def __post_init__(self) -> None:
        if self.rise is not None and not 0.0 < self.rise <= 1.0:
            raise ConfigError(
                f"targets: {self.metric} is asked to rise by {self.rise}; rise must be above 0 and "
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
    """The targets that the data can give a number for.

    Args:
        targets: by name.
        metrics: the metrics of an evaluation, without split and slices.
        sliced: the metrics (`precision`) that are given by value.
        values: the values that the data has, by category and attribute.
        given: the names of targets that the user gave, in the command or in an experiment.

    Raises:
        ConfigError: a target that the user gave names a metric or a value that does not exist.
    """
    usable = []
    for name, target in targets.items():
        fault = _fault(target.metric, metrics, sliced, values)
        if fault is None:
            usable.append(target)
        elif name in given:
            raise ConfigError(f"targets.{name}.metric={target.metric}: {fault}")
        else:
            log.warning("leaving out the target %s=%s: %s", name, target.metric, fault)
    return usable


def _fault(
    metric: str,
    metrics: Sequence[str],
    sliced: Collection[str],
    values: Mapping[str, Sequence[str]],
) -> str | None:
    """Why a metric does not exist, with the nearest name; None if it does."""
    match = _METRIC.fullmatch(metric)
    if match is None or match["whole"] not in metrics:
        whole = metric if match is None else match["whole"]
        return f"there is no such metric; {_near(whole, metrics)}"
    value = match["value"]
    if value is None:
        return None
    if match["relevance"] not in values:
        return (
            f"{match['relevance']} has no values to slice by; {_near(match['relevance'], values)}"
        )
    kind = match["whole"].rpartition("/")[2].partition("@")[0]
    if kind not in sliced:
        return f"{kind} is not given by value: add it to retrieval.slice_metrics"
    known = [*values[match["relevance"]], "macro"]
    if value not in known:
        return f"the data has no {match['relevance']} '{value}'; {_near(value, known)}"
    return None


def _near(name: str, known: Collection[str]) -> str:
    """The nearest of some names, or a few of them."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"did you mean {folded[near[0]]}?"
    return f"there are {', '.join(sorted(known)[:8])}" if known else "there are none"
