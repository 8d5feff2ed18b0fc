"""Attribute-specific retrieval (Ma et al., ASEN, AAAI 2020)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import (
    Benchmark,
    EmbeddedTask,
    EvaluationInputs,
    mean_of,
    not_itself,
)
from fashret.evaluation.evaluator import TaskResult
from fashret.functional.relevance import CodeRelevance
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class AttributeSpecific(Benchmark):
    """Attribute-specific retrieval: items with a known value find others with the same value.

    For each attribute, the items whose value is known are queries and gallery. MAP is over the full
    ranking; a query is excluded from its own ranking.

    Args:
        attributes: the attributes to evaluate; null for all attributes of the data.
    """

    attributes: Sequence[str] | None = None

    @property
    def name(self) -> str:
        """The name of the benchmark in metric keys."""
        return "attribute_specific"

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield one task for each attribute."""
        known = inputs.table.attributes
        for name in self.attributes or known:
            if name not in known:
                raise ConfigError(
                    f"protocol.attributes names '{name}'; the attributes of the data are "
                    f"{', '.join(known)}"
                )
            positions = torch.arange(len(inputs.rows))
            positions = positions[inputs.code(name, positions) != UNKNOWN]
            if len(positions) < 2:
                continue
            code, rows = inputs.code(name, positions), inputs.rows_at(positions)
            yield EmbeddedTask(
                Task(name, name, CodeRelevance(code, code), metrics=["map"], headlines=["map"]),
                Search(
                    name=name,
                    query_rows=rows,
                    gallery_rows=rows,
                    groups=inputs.code("product", positions),
                    excluded=not_itself(positions, positions),
                ),
                inputs.weighted(inputs.image[positions]),
                inputs.image[positions],
            )

    def summary(self, results: Sequence[TaskResult]) -> Mapping[str, Mapping[str, float]]:
        """Return the mean over attributes, and the mean over all queries."""
        together = torch.cat([result.columns["map"].values for result in results])
        return {
            "mean over attributes": mean_of(results),
            "mean over queries": {"map": float(together.nanmean())},
        }
