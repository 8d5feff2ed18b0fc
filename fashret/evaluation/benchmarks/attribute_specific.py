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
    """For each attribute: items that carry it search the others that do, for the same value.

    MAP is over the whole list. A query does not find itself; where the set has queries and a
    gallery, they are used.

    Args:
        attributes: null for all of the data's.
    """

    attributes: Sequence[str] | None = None

    @property
    def name(self) -> str:
        """As keys call it."""
        return "attribute_specific"

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """A row an attribute."""
        known = inputs.table.attributes
        for name in self.attributes or known:
            if name not in known:
                raise ConfigError(
                    f"protocol.attributes holds {name}; the data has {', '.join(known)}"
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
        """The mean over attributes, and over all their queries."""
        together = torch.cat([result.columns["map"].values for result in results])
        return {
            "mean over attributes": mean_of(results),
            "mean over queries": {"map": float(together.nanmean())},
        }
