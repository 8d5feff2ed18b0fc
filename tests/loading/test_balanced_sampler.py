"""Balanced batches: what they hold, and that nothing but seed and epoch decides it."""

from collections import Counter

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashret.data.balance import Balance, Labels
from fashret.errors import ConfigError
from fashret.loading.balanced_sampler import BalancedSampler
from fashret.loading.mined_sampler import MinedSampler
from fashret.loading.samplers import (
    DUE_EVERY,
    BatchRows,
    RowBatchSampler,
    ShuffledSampler,
    due_in_epoch,
)
from support.commands import Run

RNG = np.random.default_rng(0)
ROWS = np.arange(100, 700)
DESCRIBED: Labels = {
    # 60 % tees, 30 % dresses, 10 % cardigans
    "category": (RNG.choice(3, 800, p=[0.6, 0.3, 0.1]), ["tees", "dresses", "cardigans"]),
    # known for half
    "neckline": (RNG.choice([-1, 0, 1], 800, p=[0.5, 0.3, 0.2]), ["round", "square"]),
}


def batches(balance: Balance, *, epoch: int = 0, rank: int = 0, world: int = 1) -> list[list[int]]:
    made = BalancedSampler(
        ROWS, balance, DESCRIBED, batch_size=20, seed=3, rank=rank, world_size=world
    )
    made.set_epoch(epoch)
    assert len(made) == 30 // world
    return [batch.rows.tolist() for batch in made]


def shares(rows: list[int], name: str) -> list[float]:
    codes = DESCRIBED[name][0][rows]
    return [float((codes == code).mean()) for code in range(len(DESCRIBED[name][1]))]


def test_items_come_as_often_as_their_boosts_say() -> None:
    balance = Balance(boosts={"category": {"cardigans": 3.0}, "neckline": {"known": 2.0}}, most=1.0)
    rows = [
        row
        for epoch in range(2 * DUE_EVERY)
        for batch in batches(balance, epoch=epoch)
        for row in batch
    ]
    times = Counter(rows)
    category, neckline = DESCRIBED["category"][0], DESCRIBED["neckline"][0]
    mean = {
        kind: np.mean([times[row] for row in ROWS if (category[row], neckline[row] >= 0) in kind])
        for kind in (((2, True),), ((2, False),), ((0, True), (1, True)), ((0, False), (1, False)))
    }
    plain = mean[(0, False), (1, False)]
    assert mean[(0, True), (1, True)] / plain == pytest.approx(2.0, rel=0.05)
    assert mean[((2, False),)] / plain == pytest.approx(3.0, rel=0.05)
    assert mean[((2, True),)] / plain == pytest.approx(6.0, rel=0.05)


def test_no_value_has_more_than_its_share_and_no_item_comes_twice_in_a_batch() -> None:
    balance = Balance(boosts={"category": {"cardigans": 3.0}}, most=0.4)
    for batch in batches(balance):
        assert len(batch) == len(set(batch)) == 20
        assert max(shares(batch, "category")) <= 0.4


def test_a_share_that_cannot_be_kept_gives_way() -> None:
    balance = Balance(boosts={"category": {"tees": 5.0}}, most=0.2)  # 3 values: 0.33 at least
    made = batches(balance)
    assert [len(batch) for batch in made] == [20] * 30


def test_seed_and_epoch_decide_everything() -> None:
    balance = Balance(boosts={"category": {"cardigans": 3.0}}, most=0.5)
    assert batches(balance, epoch=2) == batches(balance, epoch=2)
    assert batches(balance, epoch=2) != batches(balance, epoch=3)
    whole = batches(balance)
    halves = [batches(balance, rank=rank, world=2) for rank in range(2)]
    assert [batch for pair in zip(*halves, strict=True) for batch in pair] == whole


def mined(inner: RowBatchSampler, *, random: float = 0.3, seed: int = 1) -> MinedSampler:
    """Batches with partners of which most are tees, the value that is limited."""
    rng = np.random.default_rng(seed)
    tees = ROWS[DESCRIBED["category"][0][ROWS] == 0]
    partners = np.full((800, 6), -1)
    partners[ROWS, :4] = rng.choice(tees, (len(ROWS), 4))
    partners[ROWS, 4] = rng.choice(ROWS, len(ROWS))
    return MinedSampler(inner, partners, ramp=3, random=random, seed=seed)


BALANCES = [
    Balance(boosts={"category": {"cardigans": 10.0}, "neckline": {"known": 2.0}}, most=0.4),
    Balance(boosts={"category": {"tees": 8.0, "cardigans": 3.0}}, most=0.5),
]


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("batch_size", [20, 37])
def test_mined_batches_respect_the_balance(balance: Balance, batch_size: int) -> None:
    """No value above ceil(most x B) rows after mining, and no row twice."""
    counted = 0
    batches = mined(BalancedSampler(ROWS, balance, DESCRIBED, batch_size=batch_size, seed=0))
    for epoch in range(6):
        batches.set_epoch(epoch)
        for batch in batches:
            rows = batch.rows.tolist()
            assert len(rows) == len(set(rows)) == batch_size
            for name in balance.boosts:
                codes = DESCRIBED[name][0][rows]
                most = np.bincount(codes[codes >= 0]).max()
                assert most <= np.ceil(balance.most * batch_size)
            counted += 1
    assert counted == 6 * (600 // batch_size)


@pytest.mark.parametrize("balance", [None, *BALANCES])
def test_every_item_is_seen_within_the_epochs_in_which_it_is_due(balance: Balance | None) -> None:
    """With all rows but the due ones replaced, and from any epoch on."""
    size = 46  # 600 = 13 x 46 + 2: rows are left over in every epoch
    inner: RowBatchSampler = ShuffledSampler(ROWS, batch_size=size, seed=0)
    if balance is not None:
        inner = BalancedSampler(ROWS, balance, DESCRIBED, batch_size=size, seed=0)
    batches = mined(inner, random=0.0)
    for first in (0, 5):
        seen = set()
        for epoch in range(first, first + DUE_EVERY):
            batches.set_epoch(epoch)
            for batch in batches:
                seen |= set(batch.rows.tolist())
        assert seen == set(ROWS.tolist())


def test_anchors_are_a_fair_sample_of_a_balanced_batch() -> None:
    """A value's share among the anchors is its share in the batches, not its rank in them."""
    balance = Balance(boosts={"category": {"cardigans": 10.0}}, most=0.4)
    inner = BalancedSampler(ROWS, balance, DESCRIBED, batch_size=60, seed=0)
    batches = mined(inner)
    before, anchors = [], []
    for epoch in range(3, 3 + DUE_EVERY):
        batches.set_epoch(epoch)
        for old, new in zip(inner, batches, strict=True):
            before.append(np.mean(DESCRIBED["category"][0][old.rows] == 2))
            kept = new.rows[: 60 - int(batches.replaced_share(epoch) * 60)]
            assert set(kept.tolist()) <= set(old.rows.tolist())
            anchors.append(np.mean(DESCRIBED["category"][0][kept] == 2))
    # Cardigans are 10 % of the items, drawn ten times as often, at most 24 of the 60 rows. 5 rows
    # of a batch are due whatever their weight, and stay among the 18 anchors.
    own = np.mean(DESCRIBED["category"][0][ROWS] == 2)
    assert np.mean(before) == pytest.approx(0.4, abs=0.01)
    others = (24 - 5 * own) / 55
    assert np.mean(anchors) == pytest.approx((5 * own + 13 * others) / 18, abs=0.03)


def test_partners_come_in_where_the_limit_has_room() -> None:
    """Without a binding limit, as many rows are replaced as `random` and `ramp` say."""
    balance = Balance(boosts={"category": {"cardigans": 2.0}}, most=1.0)
    batches = mined(BalancedSampler(ROWS, balance, DESCRIBED, batch_size=40, seed=0))
    for epoch, replaced in enumerate([0, 9, 18, 28, 28]):  # 40 x 0.7 x epoch / 3
        batches.set_epoch(epoch)
        inner = BalancedSampler(ROWS, balance, DESCRIBED, batch_size=40, seed=0)
        inner.set_epoch(epoch)
        for old, new in zip(inner, batches, strict=True):
            gone = set(old.rows.tolist()) - set(new.rows.tolist())
            here = set(old.rows[~np.isin(old.rows, new.rows[: 40 - replaced])].tolist())
            assert len(gone) <= replaced
            assert len(gone) == replaced - len(here & set(new.rows[40 - replaced :].tolist()))


def test_what_the_data_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match="boosts names fabric; the data has category, neckline"):
        batches(Balance(boosts={"fabric": {"denim": 2.0}}, most=1.0))
    with pytest.raises(ConfigError, match=r"boosts.category names coats; the data has tees"):
        batches(Balance(boosts={"category": {"coats": 2.0}}, most=1.0))
    with pytest.raises(ConfigError, match="must be above 0"):
        Balance(boosts={"category": {"coats": 0.0}}, most=1.0)


def test_a_balanced_run_is_resumed_exactly(run: Run) -> None:
    whole = (
        "data.balance={_target_: fashret.data.balance.Balance, most: 0.5, "
        "boosts: {category: {cardigans: 3.0}, neckline: {known: 2.0}}}",
        "trainer.max_epochs=2",
        "scheduler.epochs=2",
    )
    unbroken = run("train", *whole)
    stopped = run("train", *whole, "trainer.max_epochs=1", folder="stopped")
    run("train", *whole, f"resume={stopped}", folder="stopped")
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (unbroken, stopped)
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    events = EventAccumulator(str(unbroken / "tensorboard"))
    events.Reload()
    mixes = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"] if "mix/" in tag}
    assert set(mixes) == {
        "mix/category[cardigans]",
        "mix/neckline[known]",
        "mix/largest_share[category]",
        "mix/largest_share[neckline]",
        "mix/items_seen",
    }
    assert all(len(values) == 2 for values in mixes.values())
    assert all(0.0 < value.value <= 1.0 for values in mixes.values() for value in values)
    for name in ("category", "neckline"):
        assert max(value.value for value in mixes[f"mix/largest_share[{name}]"]) <= 0.5


def test_the_log_of_a_balanced_and_mined_run_counts_its_final_batches(run: Run) -> None:
    """No value above ceil(most x B) rows after mining, and every training item is seen."""
    folder = run(
        "train",
        "miner=pairs",
        "miner.count=2000",
        "data.balance={_target_: fashret.data.balance.Balance, most: 0.4, "
        "boosts: {category: {cardigans: 3.0}, material: {denim: 10.0}}}",
        "trainer.max_epochs=12",
        "trainer.check_val_every_n_epoch=12",
    )
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    for name in ("category", "material"):
        shares = [value.value for value in events.Scalars(f"mix/largest_share[{name}]")]
        assert len(shares) == 12
        assert 0.2 < max(shares) <= 7 / 16  # ceil(0.4 x 16)
    seen = [value.value for value in events.Scalars("mix/items_seen")]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def of_codes(
    codes: list[int], *, most: float, batch_size: int, epoch: int = 0, **boosts: float
) -> list[BatchRows]:
    """Balanced batches of items with the values a, b, c, ..., all of them rows."""
    described: Labels = {"category": (np.array(codes), list("abcdef"))}
    balance = Balance(boosts={"category": boosts or {"a": 1.0}}, most=most)
    made = BalancedSampler(np.arange(len(codes)), balance, described, batch_size=batch_size, seed=0)
    made.set_epoch(epoch)
    return list(made)


def test_without_boosts_every_item_comes_equally_often() -> None:
    made = BalancedSampler(ROWS, Balance(boosts={}, most=0.5), DESCRIBED, batch_size=60, seed=0)
    times = Counter(row for epoch in range(DUE_EVERY) for row in epoch_rows(made, epoch))
    assert set(times) == set(ROWS.tolist())
    assert max(times.values()) <= DUE_EVERY + 2


def epoch_rows(batches: RowBatchSampler, epoch: int) -> list[int]:
    batches.set_epoch(epoch)
    return [row for batch in batches for row in batch.rows.tolist()]


def test_unknown_values_are_not_limited() -> None:
    codes = [-1] * 30 + [0] * 30
    shares = []
    for batch in of_codes(codes, most=0.2, batch_size=10):
        assert len(set(batch.rows.tolist())) == 10
        shares.append(np.mean(np.array(codes)[batch.rows] == 0))
    assert shares == [0.2] * 6


@pytest.mark.parametrize(("most", "allowed"), [(0.01, 1), (0.29, 2), (0.3, 3), (0.5, 5)])
def test_the_largest_share_is_rounded_down_to_rows_but_to_one_at_least(
    most: float, allowed: int
) -> None:
    codes = [0] * 50 + [-1] * 50
    found = {
        int((np.array(codes)[batch.rows] == 0).sum())
        for batch in of_codes(codes, most=most, batch_size=10)
    }
    assert max(found) == allowed


def test_due_rows_come_first_and_are_marked() -> None:
    codes = list(np.arange(60) % 3)
    seen = Counter[int]()
    for epoch in range(DUE_EVERY):
        due = due_in_epoch(60, epoch, 0)
        marked: list[int] = []
        for batch in of_codes(codes, most=1.0, batch_size=6, epoch=epoch):
            assert batch.epoch == epoch
            assert batch.due is not None
            assert batch.due.tolist() == sorted(batch.due.tolist(), reverse=True)
            marked += batch.rows[batch.due].tolist()
        assert sorted(marked) == np.flatnonzero(due).tolist()
        seen.update(marked)
    assert seen == Counter(range(60))


def test_due_rows_wait_for_the_next_batch_where_one_is_full_of_their_value() -> None:
    # 72 rows in two batches of 36, 6 of them due in an epoch: 3 in each batch, with at most 2 of
    # the value a. Where all of the first 3 have it, the third waits and comes fourth in the second.
    codes = np.array([0] * 24 + [-1] * 48)
    waited = 0
    for epoch in range(60):
        due = set(np.flatnonzero(due_in_epoch(72, epoch, 0)).tolist())
        first, second = of_codes(codes.tolist(), most=2 / 36 + 1e-9, batch_size=36, epoch=epoch)
        marked = [set(batch.rows[batch.due].tolist()) for batch in (first, second)]
        assert marked[0] | marked[1] <= due
        for batch in (first, second):
            assert int((codes[batch.rows] == 0).sum()) <= 2
        if len(marked[0]) == 2 and sum(codes[row] == 0 for row in due) <= 4:
            assert marked[0] | marked[1] == due
            assert len(marked[1]) == 4
            waited += 1
    assert waited > 0


def test_equal_weights_draw_every_item_equally_often() -> None:
    times = Counter[int]()
    for epoch in range(5 * DUE_EVERY):
        for batch in of_codes([0, 1, 2, 3] * 10, most=1.0, batch_size=8, epoch=epoch):
            times.update(batch.rows.tolist())
    assert set(times) == set(range(40))
    assert sum(times.values()) == 60 * 40
    # 60 times each; drawn anew in every epoch, off by at most one a time.
    assert np.std(list(times.values())) < 5


def test_a_limit_that_data_cannot_keep_gives_way_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = of_codes([0] * 30, most=0.5, batch_size=10)
    assert [len(set(batch.rows.tolist())) for batch in made] == [10, 10, 10]
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 1
    assert "too few items have other values to keep every value at 5 of 10 rows" in warnings[0]
    caplog.clear()
    of_codes([0, 1] * 15, most=0.5, batch_size=10)
    assert not caplog.records


def test_batches_are_no_larger_than_what_each_process_can_have() -> None:
    described: Labels = {"category": (np.zeros(30, dtype=np.int64), ["a"])}
    balance = Balance(boosts={"category": {"a": 1.0}}, most=1.0)
    for world, size in ((1, 30), (2, 15), (7, 4), (40, 1)):
        made = BalancedSampler(
            np.arange(30), balance, described, batch_size=100, seed=0, world_size=world
        )
        assert made.batch_size == size
        assert len(made) == (0 if world == 40 else 1)
