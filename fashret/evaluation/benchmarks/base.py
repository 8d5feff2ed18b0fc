"""What every official protocol has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import ConfigError
from fashret.functional.topk import Excluded
from fashret.tasks.base import Outcome, Task


@dataclass(frozen=True)
class Stage:
    """The items of a protocol and a model's embeddings of them.

    Attributes:
        table: all items.
        codes: of the table.
        rows: (n,) those that the protocol is about, ascending rows of the table.
        image: (n, D), row i of `rows`.
        text: (n, D), zero where an item has no text.
        embed_texts: new texts to (q, D), under the model.
        weighted: embeddings as queries ask with them: by the model's blocks.
    """

    table: ItemTable
    codes: ItemCodes
    rows: NDArray[np.int64]
    image: Tensor
    text: Tensor
    embed_texts: Callable[[Sequence[str]], Tensor]
    weighted: Callable[[Tensor], Tensor]

    def names(self, places: Tensor | None = None) -> list[str]:
        """Item ids of places among the rows; of all by default."""
        ids = self.table.column("item_id")
        rows = self.rows if places is None else self.rows[places.numpy()]
        return [ids[row] for row in rows]

    def role(self, name: str) -> Tensor:
        """The places of the queries, or of the gallery.

        Raises:
            ConfigError: the data has none.
        """
        roles = (
            np.array([str(role) for role in self.table.column("role")])[self.rows]
            if "role" in self.table.dataset.column_names
            else np.array([])
        )
        places = np.flatnonzero(roles == name)
        if not len(places):
            raise ConfigError(
                f"protocol: the data has no item of the role {name} there; sets with an official "
                "query and gallery have: deepfashion_inshop, deepfashion_consumer2shop, lookbench"
            )
        return torch.from_numpy(places)

    def code(self, name: str, places: Tensor) -> Tensor:
        """Codes of places: of the product, the caption, the category or an attribute."""
        rows = torch.from_numpy(self.rows)[places]
        if name == "product":
            return self.codes.product[rows]
        if name == "caption":
            return self.codes.caption[rows]
        return self.codes.described[name][0][rows]


@dataclass(frozen=True, kw_only=True)
class OfficialProtocol(ABC):
    """Who searches what, what is right, and which numbers papers print.

    Args:
        split: whose items; null for all.
    """

    split: str | None

    averages: Mapping[str, Sequence[str]] = field(default_factory=dict, init=False)
    """Columns that are the mean of others."""

    @property
    def name(self) -> str:
        """As keys call it."""
        return type(self).__name__.lower()

    @abstractmethod
    def tasks(self, stage: Stage) -> Iterator[Task]:
        """The rows of its table.

        Raises:
            ConfigError: the data is not of the kind.
        """

    def summary(self, outcomes: Sequence[Outcome]) -> Mapping[str, Mapping[str, float]]:
        """Rows below the table: means over tasks, by name and metric."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What decides the numbers, besides the model: as it stands in metrics.json."""
        return {"name": self.name, **{k: v for k, v in asdict(self).items() if k != "averages"}}


def mean_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The unweighted mean over tasks of each metric that all of them have."""
    shared = [m for m in outcomes[0].columns if all(m in o.columns for o in outcomes)]
    return {m: sum(o.means()[m] for o in outcomes) / len(outcomes) for m in shared}


def not_itself(queries: Tensor, documents: Tensor) -> Excluded:
    """Leave each query's own place out of what it finds; both are places, ascending."""
    where = torch.searchsorted(documents, queries).clamp(max=max(0, len(documents) - 1))
    inside = documents[where] == queries
    return Excluded(torch.arange(len(queries))[inside], where[inside])
