"""Evaluations with given values, and scoreboards of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from fashret.evaluation.evaluator import Column, Evaluation
from fashret.evaluation.targets import Target
from fashret.functional.topk import Ranking
from fashret.reports.scoreboard import Scoreboard

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
    options = SimpleNamespace(k=[10], resamples=2000, seed=0, slice_metrics=["precision"])
    protocol: Any = SimpleNamespace(
        split="validation",
        queries=np.arange(QUERIES),
        codes=SimpleNamespace(
            product=torch.arange(QUERIES), described={"neckline": (codes, names)}
        ),
        described=("neckline",),
        options=options,
        relevances=lambda mode: ["neckline"] if mode == "image" else [],
    )
    ones = torch.ones(QUERIES, dtype=torch.float64)
    column = Column(values, ones, ones * 0.1)
    rows = torch.full((QUERIES, 1), ranked)
    rankings = {"image": Ranking(rows, torch.ones(QUERIES, 1))}
    return Evaluation(protocol, rankings, {}, {KEY: column}, {KEY: (codes, names)})


def board(
    before: torch.Tensor, after: torch.Tensor, *targets: Target
) -> tuple[dict[str, str], Scoreboard]:
    made = evaluation(after)
    found = Scoreboard.of("t", made, made.results(), evaluation(before), targets, {})
    rows = (*found.targets, *found.headlines, *found.slices)
    return {row.name.partition("@10")[2]: row.verdict for row in reversed(rows)}, found


def noise(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(QUERIES, dtype=torch.float64, generator=generator) * 0.2


def asked(value: str = "", rise: float | None = 0.05) -> Target:
    return Target(metric=f"image/neckline/precision@10{value}", rise=rise)
