"""Runs whose processes torchrun or SLURM starts, and starts again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUIET, SMALL, Run

from fashret.cli.launched import again, processes, rank, with_one_folder

ROOT = Path(__file__).parents[1]
CPU = ("trainer.accelerator=cpu", "trainer.devices=1", "device=cpu", "gallery=false")
SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "1",
    "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)


def last_line(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    return found


def test_a_process_that_nothing_else_started_keeps_its_command_line() -> None:
    assert rank() is None
    assert processes() == 1
    assert not again()
    assert with_one_folder(["seed=1"], "train") == ["seed=1"]


def test_processes_of_torchrun_follow_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert (rank(), processes()) == (0, 3)
    assert with_one_folder(["seed=1"], "train") == ["seed=1"]
    monkeypatch.setenv("RANK", "2")
    alone = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout"]
    given = ["seed=1", "hydra.run.dir=here"]
    assert with_one_folder(given, "train") == [*given, *alone]  # a later one counts
    assert with_one_folder(["-m", "seed=1,2"], "train") == ["-m", "seed=1,2"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert again()


def test_a_step_of_slurm_has_a_folder_that_it_finds_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    own = "hydra.run.dir=outputs/evaluate/slurm-4711-0"
    assert with_one_folder([], "evaluate") == [own]
    assert with_one_folder(["hydra.run.dir=here"], "evaluate") == ["hydra.run.dir=here"]
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # a person in a job's shell
    assert rank() is None
    assert with_one_folder([], "evaluate") == []
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.delenv("SLURM_STEP_ID")  # a job's script, which may run several commands
    assert with_one_folder([], "evaluate") == []


def test_two_nodes_under_torchrun_learn_what_one_process_does(run: Run) -> None:
    options = (*SMALL, *QUIET, *CPU, "trainer.max_epochs=1", "optimizer.lr=1e-2")
    run("train", *options[-2:], "data.batch_size=16", folder="one")
    here = run.at("here")
    here.mkdir()
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:29577", "--rdzv-id", "two"),
        *(str(ROOT / "train.py"), "trainer=ddp", "trainer.num_nodes=2", *options),
        "data.batch_size=8",
    ]
    environment = os.environ | {"FASHRET_CACHE": str(run.cache_dir), "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(command, env=environment, cwd=here, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for node in nodes:
        assert node.communicate(timeout=200)[1] is not None
        assert node.returncode == 0
    assert [path.name for path in here.iterdir()] == ["outputs"]  # no process left anything else
    (folder,) = (here / "outputs" / "train").iterdir()
    assert (folder / ".hydra" / "config.yaml").is_file()
    one, two = last_line(run.at("one")), last_line(folder)
    compared = [key for key in one if key.startswith("val/") and one[key] is not None]
    assert len(compared) > 400
    for key in compared:
        assert two[key] == pytest.approx(one[key], abs=1e-7), key


def test_a_job_that_slurm_queues_again_goes_on_in_its_folder(run: Run) -> None:
    here, told = run.at("here"), run.at("told")
    (here / "bin").mkdir(parents=True)
    scontrol = here / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >{told}\n')
    scontrol.chmod(0o755)
    epochs = 60
    command = [
        *(sys.executable, str(ROOT / "train.py"), *SMALL, *QUIET, *CPU, "data.batch_size=4"),
        *(f"trainer.max_epochs={epochs}", "trainer.check_val_every_n_epoch=20", "targets=none"),
    ]
    environment = os.environ | SLURM | {
        "FASHRET_CACHE": str(run.cache_dir), "OMP_NUM_THREADS": "1",
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    folder = here / "outputs" / "train" / "slurm-4711-0"
    first = subprocess.Popen(command, env=environment, cwd=here, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGUSR1)  # what --signal=USR1@90 sends before the time is over
    while not told.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert told.read_text() == "requeue 4711\n"
    assert first.returncode == -signal.SIGKILL
    left = torch.load(folder / "hpc_ckpt_1.ckpt", weights_only=True)
    assert 0 < left["global_step"] < 12 * epochs
    second = subprocess.run(
        command, env=environment | {"SLURM_RESTART_COUNT": "1"}, cwd=here, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr[-2000:]
    assert "the job was started again: going on from" in second.stdout
    assert [path.name for path in (here / "outputs" / "train").iterdir()] == [folder.name]
    ended = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert (ended["epoch"], ended["global_step"]) == (epochs - 1, 12 * epochs)
    lines = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 20, 40, 60]
    assert (folder / "metrics.json").is_file()
