"""Options of retrieval evaluation (the group `retrieval`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from fashret.data.splits import SPLITS
from fashret.errors import ConfigError
from fashret.functional.documents import DOCUMENTS
from fashret.functional.retrieval import METRICS, Metric

BY = ("item", "product")
EXCLUDE = ("self", "product", "none")


@dataclass(frozen=True, kw_only=True)
class RetrievalOptions:
    """Queries, gallery, cut-offs, metrics and intervals of an evaluation; see docs/metrics.md.

    Args:
        k: the cut-offs, distinct and at least 1.
        documents: what stands for an item when typed queries search it: its photo (image), its text
            (text), or both (mixed, by `weight_image`).
        by: what is ranked: items, or products by their best photo, so that ten photos of one
            dress are one answer; k then counts products.
        exclude: what is excluded from the ranking of a photo query: the photo itself and its
            copies (self), also all other photos of its product (product), or nothing (none).
            Nothing is excluded from the rankings of text queries, nor the reference photo from
            those of composed queries.
        weight_image: the weight of the image similarity in a fused query, and of the photo in a
            mixed document, 0 to 1.
        weights: query-time weights of the attribute heads, by attribute, at least 0; a head that is
            not named has the weight 0, the general embedding 1; null for none.
        candidates: re-rank only this many best items by image for a fused query; null ranks the
            whole gallery.
        catalog_splits: the splits in the gallery; null for the split of the queries.
        slice_metrics: the metrics that are also reported for each value of an attribute.
        max_queries: the maximum number of queries, a seeded sample stratified by category; null
            for all.
        max_items: the maximum number of gallery items, sampled likewise; null for all.
        seed: the seed of the samples and of the bootstrap.
        resamples: the number of bootstrap resamples for the intervals of final results.
        metrics: user-defined metrics by name, beside hit, recall, precision, map, mrr and
            ndcg: functions of hits (Q, K) bool, num_relevant (Q,) and k that return a value between
            0 and 1 for each query, (Q,) float64.
    """

    k: Sequence[int] = (1, 5, 10)
    by: str = "item"
    exclude: str = "self"
    weight_image: float = 0.7
    candidates: int | None = None
    catalog_splits: Sequence[str] | None = None
    slice_metrics: Sequence[str] = ("precision",)
    max_queries: int | None = None
    max_items: int | None = None
    seed: int = 0
    resamples: int = 10_000
    weights: Mapping[str, float] | None = None
    documents: str = "image"
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ConfigError(f"retrieval.resamples={self.resamples}: it must be at least 1")
        is_list = isinstance(self.k, Sequence) and all(isinstance(k, int) for k in self.k)
        if not is_list:
            raise ConfigError(f"retrieval.k={self.k}: it must be a list of whole numbers")
        if not self.k or min(self.k) < 1 or len(set(self.k)) < len(self.k):
            raise ConfigError(
                f"retrieval.k={list(self.k)}: it must be a list of distinct integers of at least 1"
            )
        if self.exclude not in EXCLUDE:
            raise ConfigError(
                f"retrieval.exclude={self.exclude}: it must be one of {', '.join(EXCLUDE)}"
            )
        if self.by not in BY:
            raise ConfigError(f"retrieval.by={self.by}: it must be {' or '.join(BY)}")
        if self.documents not in DOCUMENTS:
            raise ConfigError(
                f"retrieval.documents={self.documents}: it must be one of {', '.join(DOCUMENTS)}"
            )
        if not 0.0 <= self.weight_image <= 1.0:
            raise ConfigError(
                f"retrieval.weight_image={self.weight_image}: it must be within 0 and 1"
            )
        for name, weight in (self.weights or {}).items():
            if weight < 0.0:
                raise ConfigError(f"retrieval.weights.{name}={weight}: it must be at least 0")
        for split in self.catalog_splits or ():
            if split not in SPLITS:
                raise ConfigError(
                    f"retrieval.catalog_splits holds '{split}'; the splits are {', '.join(SPLITS)}"
                )
        for name in self.slice_metrics:
            if name not in METRICS and name not in self.metrics:
                raise ConfigError(
                    f"retrieval.slice_metrics holds '{name}'; the metrics are "
                    f"{', '.join((*METRICS, *self.metrics))}"
                )
        for name, metric in self.metrics.items():
            if name in METRICS or not re.fullmatch(r"[A-Za-z]\w*", name) or not callable(metric):
                raise ConfigError(
                    f"retrieval.metrics.{name}: it must be a function, and its name must be new "
                    "and consist of letters, digits and underscores"
                )
        for key in ("candidates", "max_queries", "max_items"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"retrieval.{key}={value}: it must be at least 1, or null")
        if self.candidates is not None and self.candidates < max(self.k):
            raise ConfigError(
                f"retrieval.candidates={self.candidates} is below the largest retrieval.k "
                f"({max(self.k)})"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the options as written to metrics.json; user-defined metrics by name only."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}
        plain = {name: _plain(value) for name, value in values.items()}
        if self.by == "item":  # as before there was a choice
            del plain["by"]
        return plain | ({"metrics": sorted(self.metrics)} if self.metrics else {})


def _plain(value: Any) -> Any:
    """A copy that JSON can hold."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list | tuple) else value
