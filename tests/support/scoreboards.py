"""Evaluations with given values, and scoreboards of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from fashret.evaluation.evaluator import Column, Evaluation, TaskResult
from fashret.evaluation.targets import Target
from fashret.functional.relevance import CodeRelevance
from fashret.functional.topk import Ranking
from fashret.reports.scoreboard import Scoreboard
from fashret.tasks.base import Search, Task

KEY = "val/image/neckline/precision@10"
QUERIES = 300


def evaluation(values: torch.Tensor, ranked: int = 0) -> Evaluation:
    """An evaluation of one metric over 300 queries of 300 products, with three necklines.

    Args:
        values: of the queries.
        ranked: the row that every query found.
    """
    codes = torch.arange(QUERIES) % 100
    codes = torch.where(codes < 60, 0, torch.where(codes < 95, 1, 2))  # 180, 105 and 15 queries
    names = ["round", "square", "high"]
    metric = "precision@10"
    task = Task(
        "image/neckline", "image", CodeRelevance(codes, codes), [metric], [metric], (codes, names)
    )
    rows = np.arange(QUERIES)
    plan: Any = SimpleNamespace(
        split="validation",
        prefix="val",
        options=SimpleNamespace(k=[10], resamples=2000, seed=0, slice_metrics=["precision"]),
        searches={"image": Search("image", rows, rows, torch.arange(QUERIES))},
        tasks=[task],
    )
    ones = torch.ones(QUERIES, dtype=torch.float64)
    column = Column(values, ones, ones * 0.1)
    found = torch.full((QUERIES, 1), ranked)
    judgment: Any = None
    return Evaluation(
        plan,
        {"image": Ranking(found, torch.ones(QUERIES, 1))},
        {task.name: TaskResult(task, judgment, {metric: column})},
    )


def board(
    before: torch.Tensor, after: torch.Tensor, *targets: Target
) -> tuple[dict[str, str], Scoreboard]:
    made = evaluation(after)
    found = Scoreboard.from_evaluation("t", made, made.results(), evaluation(before), targets, {})
    rows = (*found.targets, *found.headlines, *found.slices)
    return {row.name.partition("@10")[2]: row.verdict for row in reversed(rows)}, found


def noise(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(QUERIES, dtype=torch.float64, generator=generator) * 0.2


def asked(value: str = "", rise: float | None = 0.05) -> Target:
    return Target(metric=f"image/neckline/precision@10{value}", rise=rise)
