"""From rankings to every number that a report gives, by the keys of docs/metrics.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fashret.evaluation.intervals import (
    MACRO,
    Judged,
    design_effects,
    hits_of,
    list_depth,
    search_one_another,
)
from fashret.evaluation.split_search import KEY_NAMES, MODES, Protocol, relevances_of
from fashret.functional.bootstrap import interval, resampled_means, widen_equal_values, widened
from fashret.functional.retrieval import METRICS, ceiling, chance, per_query
from fashret.functional.topk import Excluded, Ranking
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class Column:
    """One metric of one relevance and mode.

    Attributes:
        values: (Q,) float64, NaN where a query does not count.
        ceiling: (Q,) the best that each query could reach.
        chance: (Q,) what a random ranking is expected to reach.
    """

    values: Tensor
    ceiling: Tensor
    chance: Tensor


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        protocol: who searched what.
        rankings: the ranking of each mode; rows are positions in the protocol's catalog.
        hits: (Q, K) bool by mode and relevance.
        columns: metrics by key, without slices.
        slices: for each sliced key, the code of each query and the names of the values.
        lists: (Q, L) rows of the rankings by mode, deeper than the largest k where intervals need
            it (`list_depth`).
    """

    protocol: Protocol
    rankings: Mapping[str, Ranking]
    hits: Mapping[tuple[str, str], Tensor]
    columns: Mapping[str, Column]
    slices: Mapping[str, tuple[Tensor, list[str]]] = field(default_factory=dict)
    lists: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, protocol: Protocol, rankings: Mapping[str, Ranking]) -> "Evaluation":
        """Compute every metric of rankings of at least the largest k columns."""
        lists = {mode: ranking.rows for mode, ranking in rankings.items()}
        k = max(protocol.options.k)
        rankings = {m: Ranking(r.rows[:, :k], r.scores[:, :k]) for m, r in rankings.items()}
        hits: dict[tuple[str, str], Tensor] = {}
        columns: dict[str, Column] = {}
        slices: dict[str, tuple[Tensor, list[str]]] = {}
        for mode, ranking in rankings.items():
            for relevance in protocol.relevances(mode):
                right, ranked = _judged(protocol, mode, relevance)
                found, relevant = hits_of(right, ranking.rows), right.relevant
                hits[mode, relevance] = found
                stem = f"{KEY_NAMES[protocol.split]}/{mode}/{relevance}"
                for name, column in _columns(protocol, found, relevant, ranked).items():
                    columns[f"{stem}/{name}"] = column
                    if (
                        relevance in protocol.described
                        and name.split("@")[0] in protocol.options.slice_metrics
                    ):
                        values = protocol.codes.described[relevance][1]
                        codes = protocol.relevance_codes(relevance)[0]
                        slices[f"{stem}/{name}"] = (codes, values)
        return cls(protocol, rankings, hits, columns, slices, lists)

    def means(self) -> dict[str, float]:
        """Every metric with its slices and macro means, by key; NaN where no query counts."""
        means: dict[str, float] = {}
        for key, column in self.columns.items():
            means[key] = float(column.values.nanmean())
            if key in self.slices:
                by_value = _slice_means(column.values, *self.slices[key])
                means |= {f"{key}[{value}]": mean for value, mean in by_value.items()}
                known = [mean for mean in by_value.values() if mean == mean]
                means[f"{key}[{MACRO}]"] = sum(known) / len(known) if known else float("nan")
        return means

    def results(self, keys: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Metrics with their intervals, n, ceiling and chance, as metrics.json holds them.

        Args:
            keys: of metrics and slices; None for every one, with the means over the values.
        """
        means = self.means()  # the values: those of a training log, to the last digit
        wanted = [(key, part) for key, part in self._parts() if keys is None or key in keys]
        names, parts = [key for key, _ in wanted], [part for _, part in wanted]
        table = torch.stack([part.values for part in parts], dim=1)  # (Q, C)
        groups = self.protocol.codes.product[torch.from_numpy(self.protocol.queries)]
        options = self.protocol.options
        drawn = resampled_means(table, groups, resamples=options.resamples, seed=options.seed)
        effects = variance_factors([self], names)
        factors = torch.tensor([effects[name] for name in names], dtype=torch.float64)
        centre = torch.tensor([means[name] for name in names], dtype=torch.float64)
        bounds = interval(widened(drawn, centre, factors)).clamp(0.0, 1.0)
        low, high = widen_equal_values(bounds, table, groups, factors)
        results = {}
        for i, (name, part) in enumerate(zip(names, parts, strict=True)):
            results[name] = {
                "value": _number(means[name]),
                "low": _number(low[i]),
                "high": _number(high[i]),
                "n": int((~part.values.isnan()).sum()),
                "ceiling": _number(part.ceiling.nanmean()),
                "chance": _number(part.chance.nanmean()),
            }
        return self._with_macro(results) if keys is None else results

    def unanswerable(self) -> dict[str, int]:
        """Queries with a known value and nothing relevant to find, by mode and relevance."""
        counts = {}
        for mode in self.rankings:
            for relevance in self.protocol.relevances(mode):
                known = self.protocol.relevance_codes(relevance)[0] != UNKNOWN
                if mode == "text":  # an item without text is no text query
                    known &= self.protocol.relevance_codes("pair")[0] != UNKNOWN
                stem = f"{KEY_NAMES[self.protocol.split]}/{mode}/{relevance}"
                column = self.columns[f"{stem}/hit@{self.protocol.options.k[0]}"]
                counts[f"{mode}/{relevance}"] = int((known & column.values.isnan()).sum())
        return counts

    def _parts(self) -> list[tuple[str, Column]]:
        """Every column, whole and by slice."""
        parts = []
        for key, column in self.columns.items():
            parts.append((key, column))
            if key not in self.slices:
                continue
            codes, values = self.slices[key]
            for code, value in enumerate(values):
                inside = torch.eq(codes, code)
                masked = [
                    torch.where(inside, t, torch.nan)
                    for t in (column.values, column.ceiling, column.chance)
                ]
                parts.append((f"{key}[{value}]", Column(*masked)))
        return parts

    def _with_macro(self, results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Add the mean over the values of each sliced metric; its n is the number of values."""
        for key, (_, values) in self.slices.items():
            of_values = [results[f"{key}[{value}]"] for value in values]
            counted = [result for result in of_values if result["n"]]
            mean = {
                name: sum(r[name] for r in counted) / len(counted) if counted else None
                for name in ("value", "ceiling", "chance")
            }
            results[f"{key}[{MACRO}]"] = {
                "value": mean["value"],
                "low": None,
                "high": None,
                "n": len(counted),
                "ceiling": mean["ceiling"],
                "chance": mean["chance"],
            }
        return results


def variance_factors(evaluations: Sequence[Evaluation], keys: Sequence[str]) -> dict[str, float]:
    """By how much the variance of metrics exceeds that of their queries alone.

    It is 1 where queries search a fixed gallery.

    Args:
        evaluations: one, or two of one protocol, whose difference is meant.
        keys: of metrics, slices and macro means.
    """
    protocol, prefix = evaluations[0].protocol, KEY_NAMES[evaluations[0].protocol.split]
    if not all(one.lists for one in evaluations) or not search_one_another(protocol):
        return dict.fromkeys(keys, 1.0)
    needed = list_depth(protocol)
    for mode, rows in ((m, r) for one in evaluations for m, r in one.lists.items()):
        assert rows.shape[1] >= needed, f"{mode} rankings have {rows.shape[1]} of {needed} columns"
    judged, values = {}, {}
    for key in keys:
        whole, _, value = key.partition("[")
        mode, relevance = whole.split("/")[1:3]
        if (mode, relevance) not in judged:
            judged[mode, relevance] = _judged(protocol, mode, relevance)[0]
        if value:
            values[mode, relevance] = evaluations[0].slices[whole]
    found = design_effects(protocol, [one.lists for one in evaluations], judged, values)
    factors = {}
    for key in keys:
        whole, _, value = key.removeprefix(f"{prefix}/").partition("[")
        factors[key] = found[whole][value.removesuffix("]")]
    return factors


def _judged(protocol: Protocol, mode: str, relevance: str) -> tuple[Judged, Tensor]:
    """What is right for each query of a mode, and how many rows it ranks, (Q,)."""
    of_query, of_item = protocol.relevance_codes(relevance)
    known = of_query != UNKNOWN
    if mode == "text":  # an item without text is no text query
        known &= protocol.relevance_codes("pair")[0] != UNKNOWN
    num_codes = 1 + int(max(of_query.max(), of_item.max(), torch.tensor(0)))
    counts = torch.bincount(of_item[of_item != UNKNOWN], minlength=num_codes)
    relevant = torch.where(known, counts[of_query.clamp(min=0)], 0)
    ranked = torch.full_like(relevant, len(of_item))
    excluded = protocol.excluded(mode)
    lost_pairs = None
    if excluded is not None:
        lost = (of_query[excluded.queries] == of_item[excluded.rows]) & known[excluded.queries]
        relevant.index_add_(0, excluded.queries, lost.long(), alpha=-1)
        ranked.index_add_(0, excluded.queries, torch.ones_like(lost, dtype=torch.long), alpha=-1)
        lost_pairs = Excluded(excluded.queries[lost], excluded.rows[lost])
    return Judged(of_query, of_item, known, relevant, lost_pairs), ranked


def _columns(
    protocol: Protocol, found: Tensor, relevant: Tensor, ranked: Tensor
) -> dict[str, Column]:
    """Every metric at every k, with ceiling and chance worked out once for equal queries."""
    ks = protocol.options.k
    pairs = torch.stack([relevant, ranked], dim=1)
    distinct, inverse = pairs.unique(dim=0, return_inverse=True)
    columns = {}
    for key, values in per_query(found, relevant, ks).items():
        name, k = key.split("@")
        top = ceiling(name, distinct[:, 0], int(k))[inverse]
        expected = chance(name, distinct[:, 0], distinct[:, 1], int(k))[inverse]
        columns[key] = Column(values, top, expected)
    return columns


def _slice_means(values: Tensor, codes: Tensor, names: list[str]) -> dict[str, float]:
    """The mean over the queries of each value."""
    counted = ~values.isnan() & (codes != UNKNOWN)
    totals = torch.zeros(len(names), dtype=torch.float64)
    numbers = torch.zeros(len(names), dtype=torch.float64)
    totals.index_add_(0, codes[counted], values[counted])
    numbers.index_add_(0, codes[counted], torch.ones_like(values[counted]))
    return dict(zip(names, (totals / numbers).tolist(), strict=True))


def _number(value: Tensor | float) -> float | None:
    """A float that JSON can hold: NaN becomes null."""
    number = float(value)
    return None if number != number else number


def metric_keys(protocol: Protocol) -> list[str]:
    """The keys, without slices, that an evaluation of this protocol gives."""
    names = metric_names(protocol.described, protocol.options.k)
    return [f"{KEY_NAMES[protocol.split]}/{name}" for name in names]


def metric_names(described: Sequence[str], ks: Sequence[int]) -> list[str]:
    """The metrics of an evaluation, without split and slices.

    Args:
        described: the category and the attributes.
        ks: the cut-offs.
    """
    return [
        f"{mode}/{relevance}/{name}@{k}"
        for mode in MODES
        for relevance in (*relevances_of(mode), *described)
        for name in METRICS
        for k in ks
    ]
