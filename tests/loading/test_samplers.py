"""Which rows come in which batch, epoch and process."""

import numpy as np
import pytest

from fashret.loading.samplers import (
    DUE_EVERY,
    EVALUATION_BATCH,
    EvaluationSampler,
    ShuffledSampler,
    due_in_epoch,
)

ROWS = np.arange(1000, 1050)


def drawn(epoch: int = 0, **options: int) -> list[list[int]]:
    batches = ShuffledSampler(ROWS, **({"batch_size": 5, "seed": 3} | options))  # type: ignore[arg-type]
    batches.set_epoch(epoch)
    return [batch.rows.tolist() for batch in batches]


def test_every_row_is_due_once_in_so_many_epochs() -> None:
    for first in (0, 1, 7):
        due = [due_in_epoch(50, epoch, 3) for epoch in range(first, first + DUE_EVERY)]
        assert np.sum(due, axis=0).tolist() == [1] * 50
        assert {int(part.sum()) for part in due} == {4, 5}  # 50 rows in 12 parts
    assert due_in_epoch(50, 2, 3).tolist() == due_in_epoch(50, 2 + DUE_EVERY, 3).tolist()
    assert due_in_epoch(50, 2, 3).tolist() != due_in_epoch(50, 2, 4).tolist()
    assert due_in_epoch(5000, 0, 3)[:2500].mean() == pytest.approx(1 / 12, abs=0.03)  # in no order


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    first = drawn()
    assert [len(batch) for batch in first] == [5] * 10
    assert sorted(row for batch in first for row in batch) == ROWS.tolist()
    assert drawn() == first
    assert drawn(epoch=1) != first
    assert drawn(seed=4) != first


def test_without_reshuffling_every_epoch_is_the_first() -> None:
    batches = ShuffledSampler(ROWS, batch_size=5, seed=3, reshuffle=False)
    first = [batch.rows.tolist() for batch in batches]
    batches.set_epoch(4)
    again = list(batches)
    assert [batch.rows.tolist() for batch in again] == first == drawn()
    assert {batch.epoch for batch in again} == {0}


def test_processes_share_the_batches_of_one() -> None:
    # 50 rows are 10 batches of 5: two processes have every other one each.
    whole = drawn(epoch=2)
    for rank in range(2):
        assert drawn(epoch=2, rank=rank, world_size=2) == whole[rank::2]
    # Three processes have 3 batches each, and 5 rows are left over.
    parts = [drawn(epoch=2, rank=rank, world_size=3) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert len({row for part in parts for batch in part for row in batch}) == 45


@pytest.mark.parametrize("world", [1, 2])
def test_rows_that_are_due_are_never_left_over(world: int) -> None:
    # 26 rows in batches of 8: 24 come with one process, and 16 with two.
    seen: set[int] = set()
    rows = np.arange(100, 126)
    for epoch in range(DUE_EVERY):
        due = set(rows[due_in_epoch(26, epoch, 0)].tolist())
        inside: list[int] = []
        for rank in range(world):
            batches = ShuffledSampler(rows, batch_size=8, seed=0, rank=rank, world_size=world)
            batches.set_epoch(epoch)
            assert len(batches) == len(list(batches)) == {1: 3, 2: 1}[world]
            for batch in batches:
                assert batch.epoch == epoch
                assert batch.due is not None
                assert set(batch.rows[batch.due].tolist()) == due & set(batch.rows.tolist())
                inside += batch.rows.tolist()
        assert len(inside) == len(set(inside)) == {1: 24, 2: 16}[world]
        assert due <= set(inside)
        seen |= set(inside)
    assert seen == set(rows.tolist())


def test_a_batch_is_at_most_what_each_process_can_have() -> None:
    for world, expected in ((1, 50), (2, 25), (7, 7), (50, 1)):
        batches = ShuffledSampler(ROWS, batch_size=1000, seed=0, world_size=world)
        assert batches.batch_size == expected
        assert len(batches) == 1
    none = ShuffledSampler(ROWS[:3], batch_size=4, seed=0, world_size=5)
    assert len(none) == 0
    assert list(none) == []


def test_batches_that_were_seen_before_an_interruption_are_left_out_once() -> None:
    batches = ShuffledSampler(ROWS, batch_size=5, seed=3)
    batches.num_done = 7
    assert [batch.rows.tolist() for batch in batches] == drawn()[7:]
    assert [batch.rows.tolist() for batch in batches] == drawn()


def test_lightning_finds_where_to_set_the_epoch() -> None:
    batches = ShuffledSampler(ROWS, batch_size=5, seed=3)
    assert batches.sampler is batches


PARTS = [np.arange(600), np.arange(700, 710), np.arange(2000, 2000 + EVALUATION_BATCH)]
"""Batches of 256, 256 and 88 rows, of 10, and of 256."""


def cut(batches: EvaluationSampler) -> list[tuple[int, int]]:
    """The first row and the length of each batch."""
    found = list(batches)
    assert len(batches) == len(found)
    assert all(batch.epoch == 0 for batch in found)
    for batch in found:
        assert batch.rows.tolist() == list(range(batch.rows[0], batch.rows[0] + len(batch.rows)))
    return [(int(batch.rows[0]), len(batch.rows)) for batch in found]


WHOLE = [(0, 256), (256, 256), (512, 88), (700, 10), (2000, 256)]


def test_evaluation_batches_are_cut_from_the_start_of_each_split() -> None:
    batches = EvaluationSampler(PARTS)
    assert cut(batches) == WHOLE
    assert batches.own_rows.tolist() == [row for part in PARTS for row in part.tolist()]
    batches.set_epoch(3)
    assert cut(batches) == WHOLE


def test_evaluation_batches_are_dealt_to_processes_in_turn() -> None:
    assert cut(EvaluationSampler(PARTS, rank=0, world_size=2)) == WHOLE[0::2]
    odd = EvaluationSampler(PARTS, rank=1, world_size=2)
    assert cut(odd) == WHOLE[1::2]
    assert odd.own_rows.tolist() == [*range(256, 512), *range(700, 710)]
    assert cut(EvaluationSampler(PARTS, rank=6, world_size=7)) == [
        WHOLE[-1]
    ]  # it has none of its own


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5, 8])
def test_evaluation_batches_may_be_equally_many_on_every_process(world: int) -> None:
    dealt = [
        cut(EvaluationSampler(PARTS, rank=r, world_size=world, even=True)) for r in range(world)
    ]
    most = -(-5 // world)
    for rank, batches in enumerate(dealt):
        own = WHOLE[rank::world] or [WHOLE[-1]]
        assert batches == own + own[-1:] * (most - len(own))


def test_rows_that_come_again_and_again_are_listed_in_order() -> None:
    parts = [np.arange(500, 505), np.arange(3)]
    assert EvaluationSampler(parts, rank=1, world_size=2, even=True).own_rows.tolist() == [0, 1, 2]
    assert EvaluationSampler(parts).own_rows.tolist() == [0, 1, 2, 500, 501, 502, 503, 504]


def test_nothing_to_evaluate_is_no_batch() -> None:
    for even in (False, True):
        batches = EvaluationSampler([np.empty(0, dtype=np.int64)], even=even)
        assert list(batches) == []
        assert batches.own_rows.tolist() == []


def test_what_is_behind_the_first_batches_is_left() -> None:
    batches = EvaluationSampler(PARTS)
    assert cut(batches.skip_first(3)) == WHOLE[3:]
    assert cut(batches) == WHOLE
    assert cut(batches.skip_first(0)) == WHOLE


def test_two_processes_train_on_every_item_once() -> None:
    import numpy as np

    from fashret.loading.samplers import ShuffledSampler

    rows = np.arange(50, 114)
    seen: list[int] = []
    for rank in range(2):
        batches = ShuffledSampler(rows, batch_size=8, seed=1, rank=rank, world_size=2)
        batches.set_epoch(3)
        assert len(batches) == 4
        for batch in batches:
            assert batch.epoch == 3
            seen += batch.rows.tolist()
    assert sorted(seen) == rows.tolist()
