"""Balanced batches: what they hold, and that nothing but seed and epoch decides it."""

from collections import Counter

import numpy as np
import pytest
import torch
from conftest import Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashret.data.balance import Balance, BalancedBatches, Described
from fashret.errors import ConfigError

RNG = np.random.default_rng(0)
ROWS = np.arange(100, 700)
DESCRIBED: Described = {
    # 60 % tees, 30 % dresses, 10 % cardigans
    "category": (RNG.choice(3, 800, p=[0.6, 0.3, 0.1]), ["tees", "dresses", "cardigans"]),
    # known for half
    "neckline": (RNG.choice([-1, 0, 1], 800, p=[0.5, 0.3, 0.2]), ["round", "square"]),
}


def batches(balance: Balance, *, epoch: int = 0, rank: int = 0, world: int = 1) -> list[list[int]]:
    made = BalancedBatches(ROWS, balance, DESCRIBED, batch_size=20, seed=3, rank=rank, world=world)
    made.set_epoch(epoch)
    assert len(made) == 30 // world
    return [batch.rows.tolist() for batch in made]


def shares(rows: list[int], name: str) -> list[float]:
    codes = DESCRIBED[name][0][rows]
    return [float((codes == code).mean()) for code in range(len(DESCRIBED[name][1]))]


def test_items_come_as_often_as_their_boosts_say() -> None:
    balance = Balance(boosts={"category": {"cardigans": 3.0}, "neckline": {"known": 2.0}}, most=1.0)
    rows = [row for epoch in range(20) for batch in batches(balance, epoch=epoch) for row in batch]
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
    assert set(mixes) == {"mix/category[cardigans]", "mix/neckline[known]"}
    assert all(len(values) == 2 for values in mixes.values())
    assert all(0.0 < value.value < 1.0 for values in mixes.values() for value in values)
