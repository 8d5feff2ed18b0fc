"""Batches of judged queries: which pairs, which hard negatives, and references."""

from collections import Counter

import numpy as np
import pytest
import torch

from fashret.loading.query_sampler import QuerySampler
from fashret.types import JudgedQueries

SEEDS = range(6)


def queries(seed: int, *, composed: bool = False) -> JudgedQueries:
    """Twenty queries with one to five judged items of fifty, some of grade 0."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(50, rng.integers(1, 6), replace=False)) for _ in range(20)]
    query = np.repeat(np.arange(20), [len(part) for part in rows])
    grade = rng.choice([0.0, 0.5, 1.0], len(query))
    return JudgedQueries(
        [f"q{i}" for i in range(20)], ["train"] * 20, torch.from_numpy(query),
        torch.from_numpy(np.concatenate(rows)), torch.from_numpy(grade), torch.ones(20),
        torch.arange(20), torch.arange(100, 120) if composed else None,
    )  # fmt: skip


def relevant(judged: JudgedQueries) -> set[tuple[int, int]]:
    listed = zip(judged.query.tolist(), judged.row.tolist(), judged.grade.tolist(), strict=True)
    return {(q, r) for q, r, grade in listed if grade > 0}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_epoch_has_each_pair_once_and_nothing_of_grade_zero(seed: int) -> None:
    judged = queries(seed)
    sampler = QuerySampler(judged, batch_size=7, seed=seed)
    drawn: Counter[tuple[int, int]] = Counter()
    for batch in sampler:
        assert batch.queries is not None
        assert len(batch.rows) == len(batch.queries) == 7
        drawn.update(zip(batch.queries.tolist(), batch.rows.tolist(), strict=True))
    wanted = relevant(judged)
    assert set(drawn) <= wanted
    assert set(drawn.values()) == {1}
    assert len(wanted) - len(drawn) < 7  # what does not fill a batch comes in another epoch


@pytest.mark.parametrize("seed", SEEDS)
def test_references_of_composed_queries_stand_behind_their_targets(seed: int) -> None:
    judged = queries(seed, composed=True)
    for batch in QuerySampler(judged, batch_size=9, seed=seed):
        assert batch.queries is not None
        assert len(batch.rows) == 2 * len(batch.queries) == 8
        targets, references = np.split(batch.rows, 2)
        assert set(zip(batch.queries.tolist(), targets.tolist(), strict=True)) <= relevant(judged)
        assert references.tolist() == (100 + batch.queries).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_hard_negatives_are_those_of_the_queries_of_the_batch(seed: int) -> None:
    judged = queries(seed)
    hard = np.arange(20)[:, None] * 10 + np.arange(3) + 200  # 200, 201, 202 for the first query
    hard[::4, 2] = -1
    sampler = QuerySampler(judged, batch_size=8, seed=seed).with_hard_items(
        hard, ramp=2, random=0.5
    )
    for epoch, replaced in ((0, 0), (1, 2), (2, 4), (7, 4)):
        sampler.set_epoch(epoch)
        sizes = Counter[int]()
        for batch in sampler:
            assert batch.queries is not None
            pairs = len(batch.queries)
            sizes[8 - pairs] += 1
            assert len(batch.rows) == 8
            of_batch = set(hard[batch.queries].reshape(-1).tolist()) - {-1}
            added = batch.rows[pairs:].tolist()
            assert set(added) <= of_batch
            assert len(set(added)) == len(added)
            found = set(zip(batch.queries.tolist(), batch.rows[:pairs].tolist(), strict=True))
            assert found <= relevant(judged)
        assert max(sizes) == replaced  # fewer where more pairs are due
    none = np.full((20, 1), -1)
    plain = QuerySampler(judged, batch_size=8, seed=seed).with_hard_items(none, ramp=0, random=0.0)
    for batch in plain:
        assert len(batch.rows) == 8


@pytest.mark.parametrize("composed", [False, True])
def test_two_processes_share_the_pairs_of_one(composed: bool) -> None:
    judged = queries(1, composed=composed)
    whole = list(QuerySampler(judged, batch_size=12, seed=3))
    parts = [
        list(QuerySampler(judged, batch_size=6, seed=3, rank=r, world_size=2)) for r in range(2)
    ]
    for one, first, second in zip(whole, *parts, strict=True):
        assert one.queries is not None
        assert first.queries is not None
        assert second.queries is not None
        assert one.queries.tolist() == [*first.queries.tolist(), *second.queries.tolist()]


def test_a_resumed_epoch_goes_on_and_another_is_another() -> None:
    sampler = QuerySampler(queries(2), batch_size=5, seed=0)
    first = [batch.rows.tolist() for batch in sampler]
    sampler.num_done = 3
    assert [batch.rows.tolist() for batch in sampler] == first[3:]
    sampler.set_epoch(1)
    assert [batch.rows.tolist() for batch in sampler] != first
    fixed = QuerySampler(queries(2), batch_size=5, seed=0, reshuffle=False)
    fixed.set_epoch(4)
    assert [batch.rows.tolist() for batch in fixed] == first
