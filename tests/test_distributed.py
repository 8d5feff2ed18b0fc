"""Two processes give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUIET, SMALL

from fashret.catalog.store import open_catalog

ROOT = Path(__file__).parents[1]


def command(
    folder: Path, cache_dir: Path, *overrides: str, sweep: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A training command as a user starts it, in a folder."""
    given = [*SMALL, *QUIET, "gallery=false", "trainer.accelerator=cpu", "device=cpu"]
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *sweep, *given, *overrides],
        env=os.environ | {"FASHRET_CACHE": str(cache_dir), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def train(folder: Path, cache_dir: Path, *overrides: str) -> dict[str, Any]:
    """A run; the last line of its log."""
    command(folder, cache_dir, f"hydra.run.dir={folder}", *overrides)
    found: dict[str, Any] = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    return found


TWO = ("trainer.devices=2", "trainer.strategy=ddp")


def test_two_processes_learn_and_measure_what_one_does(tmp_path: Path, cache_dir: Path) -> None:
    # Two batches of 8, gathered, are one of 16. The 24 validation items are one batch, so that one
    # process embeds everything and the other nothing, and each searches half of the queries.
    options = ("trainer.max_epochs=2", "optimizer.lr=1e-2")
    one = train(tmp_path / "one", cache_dir, *options, "trainer.devices=1", "data.batch_size=16")
    two = train(tmp_path / "two", cache_dir, *options, *TWO, "data.batch_size=8")
    compared = 0
    for key, value in one.items():
        if key.startswith("val/"):
            compared += 1
            assert two[key] == (value if value is None else pytest.approx(value, abs=1e-7)), key
    assert compared > 400
    assert two["train/loss"] == pytest.approx(one["train/loss"], abs=1e-5)
    assert (tmp_path / "two" / "metrics.json").is_file()
    weights = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-5), name


def test_two_processes_build_the_catalog_of_one(tmp_path: Path, cache_dir: Path) -> None:
    # 480 items: two batches of the training split and one each of the others.
    folders = {}
    for name, options in {"one": ["trainer.devices=1"], "two": TWO}.items():
        folders[name] = tmp_path / name
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "build_catalog.py"), f"catalog.dir={folders[name]}"),
                *("data.products=240", "data.num_workers=0", "device=cpu", *options),
                *("trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/run-{name}"),
            ],
            env=os.environ | {"FASHRET_CACHE": str(cache_dir), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("verified") == 1
    one, two = (open_catalog(folders[name]) for name in ("one", "two"))
    assert len(one) == 480
    for kind in ("image", "text", "image_features", "text_features"):
        assert torch.equal(getattr(one, kind), getattr(two, kind)), kind
    assert one.manifest["key"] == two.manifest["key"]
    assert one.manifest["files"].keys() == two.manifest["files"].keys()


def test_two_processes_evaluate_as_one(tmp_path: Path, cache_dir: Path) -> None:
    found = {}
    for name, options in {"one": ["trainer.devices=1"], "two": TWO}.items():
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "evaluate.py"), *SMALL, "device=cpu", *options),
                *("trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/{name}"),
            ],
            # a cache of its own: both encode
            env=os.environ
            | {"FASHRET_CACHE": str(tmp_path / f"{name}.cache"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[name] = json.loads((tmp_path / name / "metrics.json").read_text())["metrics"]
    assert len(found["one"]) > 400
    assert found["one"] == found["two"]


def test_a_sweep_of_two_processes_makes_a_folder_a_job(tmp_path: Path, cache_dir: Path) -> None:
    options = ("seed=0,1", "trainer.max_epochs=1", "optimizer.lr=0", *TWO)
    done = command(tmp_path / "here", cache_dir, *options, "hydra.sweep.dir=swept", sweep=("-m",))
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == ["swept"]
    folders = sorted(p.name for p in (tmp_path / "here" / "swept").iterdir() if p.is_dir())
    assert folders == ["0", "1"]
    for name in folders:
        job = tmp_path / "here" / "swept" / name
        assert not (job / "failed.txt").exists()
        assert (job / "metrics.json").is_file()
        assert (job / ".hydra" / "config.yaml").is_file()
        assert len((job / "train_log.jsonl").read_text().splitlines()) == 2  # epochs 0 and 1
    assert done.stdout.count("objective") <= 2  # one table


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
