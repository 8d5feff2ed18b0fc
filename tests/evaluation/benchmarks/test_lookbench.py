"""LookBench, on data whose numbers were worked out by hand."""

import math

import pytest

from fashret.evaluation.benchmarks import (
    LookBench,
)
from support.benchmarks import at, inputs, means_of


def test_lookbench_by_hand() -> None:
    on = inputs(
        at(0, 90, 10, 20, 80, 100),
        role=["query", "query", *["gallery"] * 4],
        category=["dress", "coat", "dress", "dress", "coat", "bag"],
        colour=["red", "blue", "blue", "red", "red", None],
    )
    # query 0: fine at rank 2, coarse at 1. query 1: no fine answer (0), coarse: 80 and 100 tie,
    # the smaller row, a coat, first
    found = means_of(LookBench(split="test"), on)
    assert found["fine"]["hit@1"] == 0.0
    assert found["fine"]["hit@5"] == 0.5
    assert found["fine"]["ndcg@5"] == pytest.approx(0.5 / math.log2(3), abs=1e-12)
    assert found["fine"]["mrr@10"] == 0.25
    assert found["coarse"]["hit@1"] == 1.0
