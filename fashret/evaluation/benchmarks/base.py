"""What every published benchmark has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.splits import SPLITS
from fashret.errors import ConfigError
from fashret.evaluation.evaluator import Evaluation, TaskResult
from fashret.evaluation.intervals import largest_k, list_depth
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.plan import KEY_NAMES
from fashret.functional.full_ranking import FULL_RANKING_METRICS, full_ranking_metrics
from fashret.functional.relevance import all_rows
from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded, Ranking, topk
from fashret.tasks.base import Search, Task

ALL_SPLITS = "all"
"""The `split` of a benchmark that is about the whole data set."""


@dataclass(frozen=True)
class EvaluationInputs:
    """The items of a benchmark and a model's embeddings of them.

    Attributes:
        table: all items.
        codes: of the table.
        rows: (n,) those that the benchmark is about, ascending rows of the table.
        image: (n, D), row i of `rows`.
        text: (n, D), zero where an item has no text.
        embed_texts: new texts to (q, D), under the model.
        weighted: embeddings as queries ask with them: by the model's attribute heads.
    """

    table: ItemTable
    codes: ItemCodes
    rows: NDArray[np.int64]
    image: Tensor
    text: Tensor
    embed_texts: Callable[[Sequence[str]], Tensor]
    weighted: Callable[[Tensor], Tensor]

    def names(self, positions: Tensor | None = None) -> list[str]:
        """Item ids at positions among the rows; of all by default."""
        ids = self.table.column("item_id")
        return [ids[row] for row in self.rows_at(positions)]

    def rows_at(self, positions: Tensor | None = None) -> NDArray[np.int64]:
        """Rows of the table at positions among the rows; all by default."""
        return self.rows if positions is None else self.rows[positions.numpy()]

    def role(self, name: str) -> Tensor:
        """The positions of the queries, or of the gallery.

        Raises:
            ConfigError: the data has none.
        """
        roles = (
            np.array([str(role) for role in self.table.column("role")])[self.rows]
            if "role" in self.table.dataset.column_names
            else np.array([])
        )
        positions = np.flatnonzero(roles == name)
        if not len(positions):
            raise ConfigError(
                f"protocol: no item of the split has the role {name}; sets with an official "
                "query and gallery are deepfashion_inshop, deepfashion_consumer2shop and lookbench"
            )
        return torch.from_numpy(positions)

    def code(self, name: str, positions: Tensor) -> Tensor:
        """Codes at positions: of the product, the caption, the category or an attribute."""
        rows = torch.from_numpy(self.rows)[positions]
        if name == "product":
            return self.codes.product[rows]
        if name == "caption":
            return self.codes.caption[rows]
        return self.codes.labels[name][0][rows]


class EmbeddedTask(NamedTuple):
    """A task with its search and a model's embeddings of queries and gallery.

    Attributes:
        task: what is relevant, and what is counted.
        search: who asks, and what is searched.
        queries: (Q, D).
        gallery: N rows of D floats.
    """

    task: Task
    search: Search
    queries: Tensor
    gallery: Vectors

    def sampled(self, max_queries: int | None, seed: int) -> "EmbeddedTask":
        """The same gallery, searched by a seeded sample of the queries."""
        number = len(self.search.query_rows)
        if max_queries is None or number <= max_queries:
            return self
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(number, max_queries, replace=False))
        return EmbeddedTask(
            self.task.subset(chosen),
            self.search.subset(chosen),
            self.queries[torch.from_numpy(chosen).to(self.queries.device)],
            self.gallery,
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """Who searches what, what is relevant, and which numbers papers print.

    Args:
        split: whose items; null for the split that evaluate.py judges, `all` for every item.
    """

    split: str | None = None

    averages: Mapping[str, Sequence[str]] = field(default_factory=dict, init=False)
    """Columns that are the mean of others."""

    @property
    def name(self) -> str:
        """As keys call it."""
        return type(self).__name__.lower()

    @abstractmethod
    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """The rows of its table.

        Raises:
            ConfigError: the data is not of the kind.
        """

    def summary(self, results: Sequence[TaskResult]) -> Mapping[str, Mapping[str, float]]:
        """Rows below the table: means over tasks, by name and metric."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What decides the numbers, besides the model: as it stands in metrics.json."""
        return {"name": self.name, **{k: v for k, v in asdict(self).items() if k != "averages"}}


@dataclass(frozen=True)
class BenchmarkPlan:
    """The searches and tasks of a benchmark over one data set: an `evaluation.plan.Plan`.

    Attributes:
        benchmark: which.
        split: whose items ask; None for all.
        options: slices, weights, samples and the bootstrap.
        tasks: in the order of its table.
        searches: by name.
    """

    benchmark: Benchmark
    split: str | None
    options: RetrievalOptions
    tasks: Sequence[Task]
    searches: Mapping[str, Search]

    @cached_property
    def prefix(self) -> str:
        """What every key begins with."""
        split = KEY_NAMES[self.split] if self.split in SPLITS else "all"
        return f"{split}/{self.benchmark.name}"

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers should know."""
        return [note for task in self.tasks for note in task.notes]


def evaluate_benchmark(
    benchmark: Benchmark,
    split: str | None,
    options: RetrievalOptions,
    inputs: EvaluationInputs,
) -> Evaluation:
    """Search and judge every task of a benchmark.

    Args:
        benchmark: which.
        split: whose items; None for all.
        options: its bootstrap, its weights, its metrics of the user's own, and `max_queries`: the
            gallery of a benchmark stays whole.
        inputs: the items and their embeddings.

    Raises:
        ConfigError: the data is not of the kind.
    """
    tasks = []
    for number, one in enumerate(benchmark.tasks(inputs)):
        tasks.append(one.sampled(options.max_queries, options.seed + number))
    if not tasks:
        raise ConfigError(f"protocol={benchmark.name} finds no query in the data")
    plan = BenchmarkPlan(
        benchmark,
        split,
        options,
        [one.task for one in tasks],
        {one.search.name: one.search for one in tasks},
    )
    rankings, whole = {}, {}
    for task, search, queries, gallery in tasks:
        depth = list_depth(search, largest_k(plan, search.name))
        found = topk(queries, gallery, depth, exclude=search.excluded)
        rankings[search.name] = Ranking(found.rows.cpu(), found.scores.cpu())
        if any(metric in FULL_RANKING_METRICS for metric in task.metrics):
            relevant = all_rows(task.relevance, len(search.gallery_rows))
            whole[task.name] = full_ranking_metrics(
                queries.cpu(), gallery, relevant, search.excluded
            )
    return Evaluation.from_rankings(plan, rankings, whole)


def mean_of(results: Sequence[TaskResult]) -> dict[str, float]:
    """The unweighted mean over tasks of each metric that all of them have."""
    means = [result.means() for result in results]
    shared = [metric for metric in means[0] if all(metric in one for one in means)]
    return {metric: sum(one[metric] for one in means) / len(means) for metric in shared}


def not_itself(queries: Tensor, gallery: Tensor) -> Excluded:
    """Leave each query's own position out of what it finds; both are positions, ascending."""
    where = torch.searchsorted(gallery, queries).clamp(max=max(0, len(gallery) - 1))
    inside = gallery[where] == queries
    return Excluded(torch.arange(len(queries))[inside], where[inside])
