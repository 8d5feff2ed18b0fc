"""Two processes give what one gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

TWO = ("trainer.devices=2", "trainer.strategy=ddp_fork")


def last(folder: Path) -> dict[str, Any]:
    lines = (folder / "train_log.jsonl").read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@pytest.mark.parametrize("regime", ["heads", "all"])
def test_two_processes_give_the_metrics_of_one(run: Run, regime: str) -> None:
    # Learning nothing keeps the weights equal; 24 validation items are one batch, so that one
    # process embeds everything and the other nothing, and each searches half of the queries.
    options = (f"model.train={regime}", "trainer.max_epochs=1", "optimizer.lr=0")
    one = last(run("train", *options))
    two = last(run("train", *options, *TWO, folder="two"))
    compared = 0
    for key, value in one.items():
        if key.startswith("val/"):
            compared += 1
            assert two[key] == (value if value is None else pytest.approx(value, abs=1e-7)), key
    assert compared > 400


def test_two_processes_train_on_every_item_once() -> None:
    import numpy as np

    from fashret.data.samplers import ShuffledBatches

    rows = np.arange(50, 114)
    seen: list[int] = []
    for rank in range(2):
        batches = ShuffledBatches(rows, batch_size=8, seed=1, rank=rank, world=2)
        batches.set_epoch(3)
        assert len(batches) == 4
        for batch in batches:
            assert batch.epoch == 3
            seen += batch.rows.tolist()
    assert sorted(seen) == rows.tolist()
