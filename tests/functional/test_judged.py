"""Relations of queries and items by judgments, against loops over them."""

import pytest
import torch
from torch import Tensor

from fashret.functional.judged import JudgedPairs, judged_relations
from fashret.types import UNKNOWN, JudgedQueries

SEEDS = range(8)


def judged(seed: int) -> tuple[JudgedPairs, dict[tuple[int, int], float]]:
    """Random judgments of 9 queries and 30 items; a third of the grades is 0."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randperm(270, generator=generator)[:70].sort().values
    grade = torch.rand(70, generator=generator).double() + 0.1
    grade[torch.rand(70, generator=generator) < 1 / 3] = 0.0
    query, row = pairs // 30, pairs % 30
    order = torch.argsort(query * 100 + torch.randperm(70, generator=generator) % 30)
    queries = JudgedQueries(
        [f"q{i}" for i in range(9)], ["train"] * 9, query[order], row[order], grade[order],
        torch.ones(9), torch.arange(9),
    )  # fmt: skip
    listed = zip(query.tolist(), row.tolist(), grade.tolist(), strict=True)
    return JudgedPairs(queries), {(q, r): g for q, r, g in listed}


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of a batch, items, and the queries that these answer; items may be beyond the log."""
    generator = torch.Generator().manual_seed(100 + seed)
    queries = torch.randint(9, (7,), generator=generator)
    rows = torch.randint(40, (12,), generator=generator)
    asked = torch.randint(-1, 9, (12,), generator=generator)
    return queries, rows, asked


@pytest.mark.parametrize("seed", SEEDS)
def test_grades_are_those_of_the_log(seed: int) -> None:
    pairs, listed = judged(seed)
    queries, rows, _ = drawn(seed)
    found = pairs.grades(queries, rows)
    for i, query in enumerate(queries.tolist()):
        for j, row in enumerate(rows.tolist()):
            assert float(found[i, j]) == pytest.approx(listed.get((query, row), -1.0), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_of_queries_with_a_common_item_are_not_negatives(seed: int) -> None:
    pairs, listed = judged(seed)
    queries, rows, asked = drawn(seed)
    relevant: dict[int, set[int]] = {query: set() for query in range(9)}
    for (query, row), grade in listed.items():
        if grade > 0:
            relevant[query].add(row)
    found = judged_relations(pairs, queries, rows, asked)
    plain = judged_relations(pairs, queries, rows, None)
    assert found.weight is not None
    ignored = 0
    for i, query in enumerate(queries.tolist()):
        for j, (row, other) in enumerate(zip(rows.tolist(), asked.tolist(), strict=True)):
            grade = listed.get((query, row), -1.0)
            assert bool(found.positive[i, j]) == (grade > 0)
            assert float(found.weight[i, j]) == pytest.approx(max(grade, 0.0), abs=1e-6)
            related = other != UNKNOWN and bool(relevant[query] & relevant[other])
            assert bool(found.negative[i, j]) == (grade == 0 or (grade < 0 and not related))
            assert bool(plain.negative[i, j]) == (grade <= 0)
            ignored += grade < 0 and related
    assert ignored > 0
