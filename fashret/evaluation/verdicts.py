"""Verdicts of a scoreboard's rows: met, not met, insufficient, REGRESSED. Light to import."""

MET, PROVED, NOT_MET, INSUFFICIENT = "met", "proved", "not met", "insufficient"
"""The verdicts on a target; `insufficient` also stands for a metric of too few queries."""

REGRESSED = "REGRESSED"
"""The verdict on a metric with a significant regression."""

ENOUGH_QUERIES = 30
ENOUGH_PRODUCTS = 20
"""The minimum number of queries, and of their products, for a verdict on a metric."""

SIGNIFICANT = 0.05
"""The significance level of regressions, Holm-corrected."""


def verdict(delta: float, low: float, *, rise: float | None, margin: float) -> str:
    """Decide whether a change meets a target.

    Args:
        delta: the change of the metric, -1 to 1.
        low: the lower bound of the 95 % interval of the change.
        rise: the required rise, 0 to 1; None for a metric that must not fall.
        margin: the largest accepted fall, 0 to 1, of a metric that must not fall.

    Returns:
        For a required rise: `proved` if the whole interval is at or above it, `met` if the change
        is at or above it and the interval is above 0, else `not met`. For a metric that must not
        fall: `met` if the interval excludes a fall of more than the margin, `not met` if the change
        itself is such a fall, else `insufficient`.
    """
    if rise is None:
        if low >= -margin:
            return MET
        return NOT_MET if delta < -margin else INSUFFICIENT
    if low >= rise:
        return PROVED
    return MET if delta >= rise and low > 0 else NOT_MET


def is_enough(key: str, queries: int, products: int) -> bool:
    """Return whether a metric has enough queries and products for a verdict.

    Args:
        key: the key of the metric; a mean over values (`[macro]`) needs a single value.
        queries: the number of queries that count; of values for a mean over values.
        products: the number of products among those queries.
    """
    if key.endswith("[macro]"):
        return queries > 0
    return queries >= ENOUGH_QUERIES and products >= ENOUGH_PRODUCTS


def is_regression(delta: float, p: float) -> bool:
    """Return whether a metric fell significantly.

    Args:
        delta: the change of the metric.
        p: its two-sided p-value, corrected for all metrics that are watched.
    """
    return p < SIGNIFICANT and delta < 0.0
