"""Which rows of a batch give way to partners of the others, and within which limit."""

from collections.abc import Iterator

import numpy as np
import pytest

from fashret.loading.mined_sampler import MinedSampler
from fashret.loading.samplers import BatchRows, RowBatchSampler, ShareLimit, ShuffledSampler


class Given(RowBatchSampler):
    """Batches of ten rows: 0 to 9, 10 to 19, and so on.

    Args:
        num_batches: how many.
        due: which of the ten are due in each.
        limit: of a batch.
    """

    def __init__(
        self, num_batches: int = 1, *, due: list[int] | None = None, limit: ShareLimit | None = None
    ) -> None:
        self.num_batches = num_batches
        self.due = None if due is None else np.isin(np.arange(10), due)
        self.limit = limit

    def __len__(self) -> int:
        return self.num_batches

    def epoch_batches(self) -> Iterator[BatchRows]:
        for number in range(self.num_batches):
            yield BatchRows(np.arange(10) + 10 * number, self.epoch, self.due)


def partners(per_row: int, num_rows: int = 10) -> np.ndarray:
    """Row r has the partners 100 r + 100, 100 r + 101, ...; of other rows it has none."""
    table = np.full((100 * num_rows + 200, per_row), -1)
    table[:num_rows] = 100 * np.arange(1, num_rows + 1)[:, None] + np.arange(per_row)
    return table


def owner(row: int) -> int:
    """Whose partner a row is."""
    return row // 100 - 1


def test_the_replaced_share_grows_to_what_is_not_random() -> None:
    batches = MinedSampler(Given(), partners(1), ramp=4, random=0.2, seed=0)
    shares = [batches.replaced_share(epoch) for epoch in (0, 1, 2, 4, 5, 40)]
    assert shares == pytest.approx([0.0, 0.2, 0.4, 0.8, 0.8, 0.8])
    at_once = MinedSampler(Given(), partners(1), ramp=0, random=0.2, seed=0)
    assert [at_once.replaced_share(epoch) for epoch in (0, 3)] == pytest.approx([0.8, 0.8])


@pytest.mark.parametrize(
    ("per_row", "random", "due", "replaced"),
    [
        (1, 0.0, None, 5),  # one partner each: five anchors are needed for five of them
        (2, 0.0, None, 6),  # four anchors have eight partners, three would have six, one too few
        (9, 0.0, None, 9),  # one anchor is enough
        (9, 0.5, None, 5),  # half stays as it was
        (9, 0.35, None, 6),  # 6.5 rows, rounded down
        (9, 0.0, [1, 4, 7], 7),  # three are due
        (9, 0.0, list(range(10)), 0),
        (2, 0.0, [3], 6),
    ],
)
def test_as_many_rows_give_way_as_there_can_be_partners(
    per_row: int, random: float, due: list[int] | None, replaced: int
) -> None:
    anchors_seen, mined_seen = set(), set()
    for seed in range(150):
        inner = Given(due=due)
        batches = MinedSampler(inner, partners(per_row), ramp=0, random=random, seed=seed)
        assert len(batches) == 1
        (batch,) = batches
        rows = batch.rows.tolist()
        assert len(rows) == len(set(rows)) == 10
        anchors, mined = set(rows[: 10 - replaced]), set(rows[10 - replaced :])
        assert anchors <= set(range(10))
        assert {owner(row) for row in mined} <= anchors
        assert set(due or []) <= anchors
        assert batch.due is not None
        assert sorted(batch.rows[batch.due].tolist()) == (due or [])
        anchors_seen |= anchors
        mined_seen |= mined
    if len(due or []) < 10 - replaced:
        assert anchors_seen == set(range(10))  # any row may be an anchor
    if due is None:
        assert mined_seen == {100 * row + 100 + i for row in range(10) for i in range(per_row)}


def test_rows_stay_where_their_anchors_have_too_few_partners() -> None:
    table = np.full((1000, 3), -1)
    table[:10, 1] = 500 + np.arange(10) % 2  # two different partners in all
    for seed in range(20):
        (batch,) = MinedSampler(Given(), table, ramp=0, random=0.3, seed=seed)
        rows = batch.rows.tolist()
        assert len(rows) == len(set(rows)) == 10
        # Seven rows may give way to the partners of three: to one or two, and five or six stay.
        parity = {row % 2 for row in rows[:3]}
        assert set(rows) - set(range(10)) == {500 + p for p in parity}


def test_a_partner_that_is_in_the_batch_already_is_not_taken_twice() -> None:
    table = np.full((1000, 2), -1)
    table[:10] = np.stack([(np.arange(10) + 1) % 10, 100 + np.arange(10)], axis=1)
    for seed in range(30):
        (batch,) = MinedSampler(Given(), table, ramp=0, random=0.0, seed=seed)
        rows = batch.rows.tolist()
        assert len(rows) == len(set(rows)) == 10
        anchors = rows[:4]
        for row in rows[4:]:
            assert row - 100 in anchors or row < 10
        # Four anchors have eight partners, of which some are anchors: the rest fill six places.
        others = {(a + 1) % 10 for a in anchors} - set(anchors) | {a + 100 for a in anchors}
        assert len(set(rows[4:]) & others) == min(6, len(others))


def test_the_choice_follows_from_seed_epoch_and_batch() -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        batches = MinedSampler(Given(3), partners(3, 30), ramp=0, random=0.4, seed=seed)
        batches.set_epoch(epoch)
        made = list(batches)
        assert {batch.epoch for batch in made} == {epoch}
        return [batch.rows.tolist() for batch in made]

    first = drawn(0, 2)
    assert drawn(0, 2) == first
    assert drawn(1, 2) != first
    assert drawn(0, 3) != first
    kept = [[row % 10 for row in batch[:6]] for batch in first]
    assert kept[0] != kept[1] != kept[2]


def test_lightning_sets_the_epoch_of_both() -> None:
    inner = Given()
    batches = MinedSampler(inner, partners(1), ramp=2, random=0.0, seed=0)
    batches.sampler.set_epoch(1)
    assert inner.epoch == 1
    (batch,) = batches
    assert batch.epoch == 1
    assert sum(row >= 100 for row in batch.rows.tolist()) == 5


def limited(
    codes: list[list[int]], most: int, table: dict[int, list[int]], due: list[int], seed: int = 0
) -> list[int]:
    """A batch of rows 0 to 9, the due ones of which are anchors, with partners and a limit."""
    width = max(len(found) for found in table.values())
    found = np.full((len(codes), width), -1)
    for row, others in table.items():
        found[row, : len(others)] = others
    inner = Given(due=due, limit=ShareLimit(np.array(codes), most))
    (batch,) = MinedSampler(inner, found, ramp=0, random=0.0, seed=seed)
    assert set(due) <= set(batch.rows.tolist())
    return sorted(batch.rows.tolist())


def test_a_value_at_its_limit_only_takes_the_place_of_its_own() -> None:
    # Rows 0 to 3 have the value 0, which is the limit; 4 to 9 the value 1. Partner 10 has the
    # value 0, and rows 2 and 3 alone may make room for it; 11 is unknown, and any row may.
    codes = [[0]] * 4 + [[1]] * 6 + [[0], [-1]]
    for seed in range(20):
        rows = limited(codes, 6, {0: [10]}, due=[0, 1, 4, 5, 6], seed=seed)
        assert 10 in rows  # four of six: there is room
        rows = limited(codes, 4, {0: [10]}, due=[0, 1, 4, 5, 6], seed=seed)
        assert 10 in rows
        assert sum(codes[row] == [0] for row in rows) == 4
        assert limited(codes, 4, {0: [10]}, due=[0, 1, 2, 3, 4], seed=seed) == list(range(10))
        assert 11 in limited(codes, 4, {0: [11]}, due=[0, 1, 2, 3, 4], seed=seed)


def test_a_row_that_gives_way_makes_room_for_its_value() -> None:
    # The value 0 is at its limit of 3. Partner 10 (of value 2) replaces one of rows 5 to 9; only
    # where that was row 5, of value 0, partner 11 of that value can come for another.
    codes = [[0], [0], [1], [1], [1], [0], [1], [1], [1], [1], [2], [0]]
    came = set()
    for seed in range(60):
        rows = limited(codes, 7, {0: [10, 11]}, due=[0, 1, 2, 3, 4], seed=seed)
        assert {10, 11} <= set(rows)  # 3 of 7
        rows = limited(codes, 3, {0: [10, 11]}, due=[0, 1, 2, 3, 4], seed=seed)
        assert sum(codes[row] == [0] for row in rows) <= 3
        assert 11 in rows or 5 not in rows or 10 in rows
        came.add((10 in rows, 11 in rows, 5 in rows))
    assert (True, True, False) in came


def test_partners_must_fit_every_limited_attribute() -> None:
    # Of the first attribute value 0 is full (5 of 5), of the second value 7 is (5 of 5). Partner 10
    # has both: it may only replace a row with both, and that is row 9.
    codes = [[0, 7]] * 4 + [[1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [0, 7], [0, 7]]
    for seed in range(20):
        rows = limited(codes, 5, {0: [10]}, due=[0, 1, 2, 3, 4], seed=seed)
        assert rows == [*range(9), 10]
    # Without row 9 nothing can give way: a row with one of both values would do for neither.
    codes[9] = [0, 8]
    codes[8] = [6, 7]
    for seed in range(20):
        assert limited(codes, 5, {0: [10]}, due=[0, 1, 2, 3, 4], seed=seed) == list(range(10))


def test_a_partner_in_the_batch_stays_while_others_come() -> None:
    # Row 9 is a partner of 0 already: rows 5 to 8 give way to the other partners.
    codes = [[-1]] * 20
    for seed in range(10):
        rows = limited(codes, 1, {0: [9, 10, 11, 12, 13, 14]}, due=[0, 1, 2, 3, 4], seed=seed)
        assert {0, 1, 2, 3, 4, 9} < set(rows)
        assert len(set(rows) & {10, 11, 12, 13, 14}) == 4


@pytest.mark.parametrize("seed", range(10))
def test_mined_batches_stay_within_any_limit_that_they_began_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 4, (60, 2))
    before = [np.bincount(codes[:10, a][codes[:10, a] >= 0], minlength=4) for a in range(2)]
    most = int(max(count.max() for count in before))
    table = rng.integers(-1, 60, (60, 5))
    inner = Given(due=[0, 1], limit=ShareLimit(codes, most))
    (batch,) = MinedSampler(inner, table, ramp=0, random=0.0, seed=seed)
    rows = batch.rows.tolist()
    assert len(rows) == len(set(rows)) == 10
    assert set(rows) > {0, 1}
    assert set(rows) - set(range(10))
    for a in range(2):
        values = codes[rows, a]
        assert np.bincount(values[values >= 0], minlength=4).max() <= most


def test_batches_move_from_random_to_hard() -> None:
    partners = np.full((100, 3), -1)
    partners[:50] = np.arange(50, 100)[:, None]  # the partner of 0 is 50, of 1 is 51
    batches = MinedSampler(
        ShuffledSampler(np.arange(50), batch_size=20, seed=0),
        partners,
        ramp=4,
        random=0.5,
        seed=0,
    )
    for epoch, expected in enumerate([0, 2, 5, 7, 10, 10]):
        batches.set_epoch(epoch)
        for batch in batches:
            rows = batch.rows.tolist()
            assert len(rows) == len(set(rows)) == 20
            mined = [row for row in rows if row >= 50]
            assert len(mined) == expected
            assert all(row - 50 in rows for row in mined)
    first = [batch.rows.tolist() for batch in batches]
    assert first == [batch.rows.tolist() for batch in batches]


def test_batches_keep_the_anchors_of_what_is_mined() -> None:
    partners = np.full((100, 1), -1)
    partners[:50, 0] = np.arange(50, 100)
    inner = ShuffledSampler(np.arange(50), batch_size=20, seed=0)
    for batch in MinedSampler(inner, partners, ramp=0, random=0.0, seed=0):
        rows = batch.rows.tolist()
        assert sum(row >= 50 for row in rows) == 10  # one partner each: half can be mined
        assert all(row - 50 in rows for row in rows if row >= 50)


def test_a_batch_without_partners_keeps_its_rows() -> None:
    partners = np.full((50, 2), -1)
    inner = ShuffledSampler(np.arange(50), batch_size=10, seed=0)
    batches = MinedSampler(inner, partners, ramp=0, random=0.2, seed=0)
    assert [sorted(b.rows.tolist()) for b in batches] == [sorted(b.rows.tolist()) for b in inner]
