"""Attribute-specific retrieval (Ma et al., ASEN, AAAI 2020)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage, mean_of, not_itself
from fashret.functional.relevance import Equal
from fashret.tasks.base import Outcome, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class AttributeSpecific(OfficialProtocol):
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

    def tasks(self, stage: Stage) -> Iterator[Task]:
        """A row an attribute."""
        known = stage.table.attributes
        for name in self.attributes or known:
            if name not in known:
                raise ConfigError(
                    f"protocol.attributes holds {name}; the data has {', '.join(known)}"
                )
            places = torch.arange(len(stage.rows))
            places = places[stage.code(name, places) != UNKNOWN]
            if len(places) < 2:
                continue
            yield Task(
                name=name,
                queries=stage.weighted(stage.image[places]),
                documents=stage.image[places],
                query_names=stage.names(places),
                document_names=stage.names(places),
                relevance=Equal(stage.code(name, places), stage.code(name, places)),
                metrics=["map"],
                excluded=not_itself(places, places),
                units=stage.code("product", places),
            )

    def summary(self, outcomes: Sequence[Outcome]) -> Mapping[str, Mapping[str, float]]:
        """The mean over attributes, and over all their queries."""
        together = torch.cat([outcome.columns["map"] for outcome in outcomes])
        return {
            "mean over attributes": mean_of(outcomes),
            "mean over queries": {"map": float(together.nanmean())},
        }
