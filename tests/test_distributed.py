"""Two processes give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import QUIET, SMALL

ROOT = Path(__file__).parents[1]


def train(folder: Path, cache_dir: Path, *overrides: str) -> dict[str, Any]:
    """A run as a user starts it; the last line of its log."""
    given = [*SMALL, *QUIET, "trainer.accelerator=cpu", "device=cpu", f"hydra.run.dir={folder}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *given, *overrides],
        env=os.environ | {"FASHRET_CACHE": str(cache_dir), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    return found


def test_two_processes_give_the_metrics_of_one(tmp_path: Path, cache_dir: Path) -> None:
    # Learning nothing keeps the weights equal; 24 validation items are one batch, so that one
    # process embeds everything and the other nothing, and each searches half of the queries.
    options = ("model.train=heads", "trainer.max_epochs=1", "optimizer.lr=0")
    one = train(tmp_path / "one", cache_dir, *options, "trainer.devices=1")
    two = train(tmp_path / "two", cache_dir, *options, "trainer.devices=2", "trainer.strategy=ddp")
    compared = 0
    for key, value in one.items():
        if key.startswith("val/"):
            compared += 1
            assert two[key] == (value if value is None else pytest.approx(value, abs=1e-7)), key
    assert compared > 400
    assert (tmp_path / "two" / "metrics.json").is_file()


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
