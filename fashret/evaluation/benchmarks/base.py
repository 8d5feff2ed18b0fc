"""The base class of published benchmarks, and the function that evaluates one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from fashret.evaluation.ranking import ranked
from fashret.functional.full_ranking import FULL_RANKING_METRICS, full_ranking_metrics
from fashret.functional.relevance import all_rows
from fashret.functional.similarity import Vectors
from fashret.functional.topk import Excluded, Ranking
from fashret.functional.units import units_of
from fashret.models.composer import plain_mean
from fashret.tasks.base import Search, Task

ALL_SPLITS = "all"
"""The value of `split` for a benchmark on all items of the data set."""


@dataclass(frozen=True)
class EvaluationInputs:
    """The items of a benchmark and a model's embeddings of them.

    Attributes:
        table: all items of the data set.
        codes: the codes of the table.
        rows: (n,) the rows of the table that the benchmark uses, ascending.
        image: (n, D) float; row i embeds the photo of item `rows[i]`.
        text: (n, D) float; a row of zeros where an item has no text.
        embed_texts: embeds q new texts with the model, (q, D).
        weighted: applies the query-time weights of the attribute heads to (q, D) embeddings.
        compose: makes composed queries of (q, D) reference photos and (q, D) texts.
    """

    table: ItemTable
    codes: ItemCodes
    rows: NDArray[np.int64]
    image: Tensor
    text: Tensor
    embed_texts: Callable[[Sequence[str]], Tensor]
    weighted: Callable[[Tensor], Tensor]
    compose: Callable[[Tensor, Tensor], Tensor] = plain_mean

    def names(self, positions: Tensor | None = None) -> list[str]:
        """Return the item ids at positions in `rows`; all by default."""
        ids = self.table.column("item_id")
        return [ids[row] for row in self.rows_at(positions)]

    def rows_at(self, positions: Tensor | None = None) -> NDArray[np.int64]:
        """Return the rows of the table at positions in `rows`; all by default."""
        return self.rows if positions is None else self.rows[positions.numpy()]

    def role(self, name: str) -> Tensor:
        """Return the positions in `rows` of the items with a role.

        Args:
            name: `query` or `gallery`.

        Raises:
            ConfigError: no item has the role.
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
        """Return codes at positions in `rows`.

        Args:
            name: product, caption, category, or the name of an attribute.
            positions: (m,) long.
        """
        rows = torch.from_numpy(self.rows)[positions]
        if name == "product":
            return self.codes.product[rows]
        if name == "caption":
            return self.codes.caption[rows]
        return self.codes.labels[name][0][rows]


class EmbeddedTask(NamedTuple):
    """A task with its search and a model's embeddings of queries and gallery.

    Attributes:
        task: the ground truth and the metrics.
        search: the queries and the gallery.
        queries: (Q, D) embeddings.
        gallery: the N embeddings to search, D floats each.
    """

    task: Task
    search: Search
    queries: Tensor
    gallery: Vectors

    def by_product(self, product: Tensor) -> "EmbeddedTask":
        """Return the task with products in place of items, each ranked by its best photo.

        Args:
            product: (N,) long codes of the products of all rows of the item table.
        """
        units = units_of(product[torch.from_numpy(self.search.gallery_rows)])
        return self._replace(search=replace(self.search, units=units))

    def sampled(self, max_queries: int | None, seed: int) -> "EmbeddedTask":
        """Return the task with a seeded sample of at most `max_queries` of its queries."""
        num_queries = len(self.search.query_rows)
        if max_queries is None or num_queries <= max_queries:
            return self
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(num_queries, max_queries, replace=False))
        return EmbeddedTask(
            self.task.subset(chosen),
            self.search.subset(chosen),
            self.queries[torch.from_numpy(chosen).to(self.queries.device)],
            self.gallery,
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """A published benchmark: queries, gallery, ground truth, and the metrics that papers report.

    Args:
        split: the split to use; null for the one that is evaluated, `all` for all items.
    """

    split: str | None = None

    averages: Mapping[str, Sequence[str]] = field(default_factory=dict, init=False)
    """Columns of the table that are means of other columns, by name."""

    @property
    def name(self) -> str:
        """The name of the benchmark in metric keys."""
        return type(self).__name__.lower()

    @abstractmethod
    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the tasks of the benchmark, in the order of its table.

        Args:
            inputs: the items and their embeddings.

        Raises:
            ConfigError: the data does not fit the benchmark.
        """

    def summary(self, results: Sequence[TaskResult]) -> Mapping[str, Mapping[str, float]]:
        """Return means over tasks, by name and metric; they are shown below the table."""
        return {}

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the numbers, besides the model, for metrics.json."""
        return {"name": self.name, **{k: v for k, v in asdict(self).items() if k != "averages"}}


@dataclass(frozen=True)
class BenchmarkPlan:
    """The searches and tasks of a benchmark over one data set: an `evaluation.plan.Plan`.

    Attributes:
        benchmark: the benchmark.
        split: the split of the queries; None for all.
        options: slices, weights, samples and the bootstrap.
        tasks: the tasks in the order of the benchmark's table.
        searches: the searches by name.
    """

    benchmark: Benchmark
    split: str | None
    options: RetrievalOptions
    tasks: Sequence[Task]
    searches: Mapping[str, Search]

    @cached_property
    def prefix(self) -> str:
        """The prefix of every metric key, such as `test/inshop`."""
        split = KEY_NAMES[self.split] if self.split in SPLITS else "all"
        return f"{split}/{self.benchmark.name}"

    @property
    def notes(self) -> list[str]:
        """Notes for the reader of the numbers, such as how many queries were dropped."""
        return [note for task in self.tasks for note in task.notes]


def evaluate_benchmark(
    benchmark: Benchmark,
    split: str | None,
    options: RetrievalOptions,
    inputs: EvaluationInputs,
) -> Evaluation:
    """Rank and evaluate every task of a benchmark.

    Args:
        benchmark: the benchmark.
        split: the split of the queries; None for all.
        options: the bootstrap, the head weights, user-defined metrics and `max_queries` are used;
            the gallery is never sampled.
        inputs: the items and their embeddings.

    Raises:
        ConfigError: the data does not fit the benchmark, or it yields no query.
    """
    tasks = []
    for number, one in enumerate(benchmark.tasks(inputs)):
        if options.by == "product":
            one = one.by_product(inputs.codes.product)
        tasks.append(one.sampled(options.max_queries, options.seed + number))
    if not tasks:
        raise ConfigError(f"protocol={benchmark.name}: the data yields no query for this benchmark")
    plan = BenchmarkPlan(
        benchmark,
        split,
        options,
        [one.task for one in tasks],
        {one.search.name: one.search for one in tasks},
    )
    rankings, full_rankings = {}, {}
    for task, search, queries, gallery in tasks:
        depth = list_depth(search, largest_k(plan, search.name))
        ranking = ranked(search, queries, gallery, depth, search.excluded)
        rankings[search.name] = Ranking(ranking.rows.cpu(), ranking.scores.cpu())
        if any(metric in FULL_RANKING_METRICS for metric in task.metrics):
            if search.units is not None:
                raise ConfigError(
                    f"retrieval.by=product: {benchmark.name} has metrics over the whole ranking of "
                    "items, which are not defined for products: leave it out"
                )
            relevant = all_rows(task.relevance, len(search.gallery_rows))
            full_rankings[task.name] = full_ranking_metrics(
                queries.cpu(), gallery, relevant, search.excluded
            )
    return Evaluation.from_rankings(plan, rankings, full_rankings)


def mean_of(results: Sequence[TaskResult]) -> dict[str, float]:
    """Return the unweighted mean over tasks of each metric that all tasks have."""
    means = [result.means() for result in results]
    shared = [metric for metric in means[0] if all(metric in one for one in means)]
    return {metric: sum(one[metric] for one in means) / len(means) for metric in shared}


def not_itself(queries: Tensor, gallery: Tensor) -> Excluded:
    """Exclude each query from its own ranking; both arguments are ascending positions."""
    where = torch.searchsorted(gallery, queries).clamp(max=max(0, len(gallery) - 1))
    inside = gallery[where] == queries
    return Excluded(torch.arange(len(queries))[inside], where[inside])
