"""Embeddings and items of a benchmark, small enough to work its numbers out by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.benchmarks.base import (
    Benchmark,
    EmbeddedTask,
    EvaluationInputs,
    evaluate_benchmark,
)
from fashret.evaluation.evaluator import Evaluation, TaskResult
from fashret.evaluation.options import RetrievalOptions
from fashret.functional.relevance import Relevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN

FEW = RetrievalOptions(resamples=20)


def at(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def codes(values: list[str | None]) -> tuple[Tensor, list[str]]:
    known = sorted({value for value in values if value is not None})
    return torch.tensor([UNKNOWN if v is None else known.index(v) for v in values]), known


def inputs(
    images: Tensor,
    texts: Tensor | None = None,
    *,
    typed: dict[str, float] | None = None,
    **columns: list[str | None],
) -> EvaluationInputs:
    """Items with some columns: product, caption, category, role, and attributes."""
    count = len(images)
    ids = columns.pop("item_id", [f"i{i}" for i in range(count)])
    roles = columns.pop("role", None)
    product = codes(columns.pop("product", [None] * count))[0]
    caption = codes(columns.pop("caption", [f"c{i}" for i in range(count)]))[0]
    category = columns.pop("category", [None] * count)
    described = {"category": codes(category)} | {n: codes(v) for n, v in columns.items()}
    table = SimpleNamespace(
        column=lambda name: ids if name == "item_id" else roles,
        dataset=SimpleNamespace(column_names=["role"] if roles else []),
        attributes=tuple(columns),
        categorical_columns=("category", *columns),
        splits=("test",),
        rows=lambda split: np.arange(count),
    )
    return EvaluationInputs(
        table=table,  # type: ignore[arg-type]  # as much of a table as is read
        codes=SimpleNamespace(product=product, caption=caption, labels=described),  # type: ignore[arg-type]
        rows=np.arange(count),
        image=images,
        text=at(*[0.0] * count) if texts is None else texts,
        embed_texts=lambda asked: at(*(typed[text] for text in asked)) if typed else at(),
        weighted=lambda queries: queries,
    )


@dataclass(frozen=True, kw_only=True)
class Given(Benchmark):
    """A benchmark of given tasks."""

    given: Sequence[EmbeddedTask]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        return iter(self.given)


def task(
    queries: Tensor,
    gallery: Tensor,
    relevance: Relevance,
    metrics: Sequence[str],
    *,
    excluded: Excluded | None = None,
    zero_without_answer: bool = False,
) -> EmbeddedTask:
    """A task over embeddings."""
    return EmbeddedTask(
        Task("t", "t", relevance, metrics, metrics, zero_without_answer=zero_without_answer),
        Search(
            "t",
            np.full(len(queries), -1),
            np.arange(len(gallery)),
            torch.full((len(queries),), UNKNOWN),
            excluded=excluded,
            query_names=[f"q{i}" for i in range(len(queries))],
        ),
        queries,
        gallery,
    )


def evaluation_of(*tasks: EmbeddedTask, options: RetrievalOptions = FEW) -> Evaluation:
    """The evaluation of given tasks."""
    nothing: Any = None
    return evaluate_benchmark(Given(given=tasks), "test", options, nothing)


def result_of(one: EmbeddedTask) -> TaskResult:
    """What one task gives."""
    return evaluation_of(one).results_by_task[one.task.name]


def means_of(benchmark: Benchmark, on: EvaluationInputs) -> dict[str, dict[str, float]]:
    """The means of each task of a benchmark."""
    found = evaluate_benchmark(benchmark, "test", FEW, on)
    return {name: result.means() for name, result in found.results_by_task.items()}
