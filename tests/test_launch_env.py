"""Runs whose processes torchrun or SLURM starts, and starts again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fashret.cli.run_folder import with_shared_run_folder
from fashret.errors import ConfigError
from fashret.launch_env import global_rank, is_restart, world_size
from support.commands import QUIET, SMALL, Run, lines
from support.forked import forked

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


def test_a_process_that_nothing_else_started_keeps_its_command_line() -> None:
    assert global_rank() is None
    assert world_size() == 1
    assert not is_restart()
    assert with_shared_run_folder(["seed=1"], "train") == ["seed=1"]


def test_processes_of_torchrun_follow_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert (global_rank(), world_size()) == (0, 3)
    assert with_shared_run_folder(["seed=1"], "train") == ["seed=1"]
    monkeypatch.setenv("RANK", "2")
    alone = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout"]
    given = ["seed=1", "hydra.run.dir=here"]
    assert with_shared_run_folder(given, "train") == [*given, *alone]  # a later one counts
    with pytest.raises(ConfigError, match="-m: a sweep starts its jobs' processes itself"):
        with_shared_run_folder(["-m", "seed=1,2"], "train")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert is_restart()


def test_a_step_of_slurm_has_a_folder_that_it_finds_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    own = "hydra.run.dir=outputs/evaluate/slurm-4711-0"
    assert with_shared_run_folder([], "evaluate") == [own]
    assert with_shared_run_folder(["hydra.run.dir=here"], "evaluate") == ["hydra.run.dir=here"]
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # a person in a job's shell
    assert global_rank() is None
    assert with_shared_run_folder([], "evaluate") == []
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.delenv("SLURM_STEP_ID")  # a job's script, which may run several commands
    assert with_shared_run_folder([], "evaluate") == []


def test_a_job_that_slurm_queues_again_goes_on_in_its_folder(run: Run) -> None:
    here, told = run.at("here"), run.at("told")
    (here / "bin").mkdir(parents=True)
    scontrol = here / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >{told}\n')
    scontrol.chmod(0o755)
    epochs = 60
    command = [
        *("train.py", *SMALL, *QUIET, *CPU, "data.batch_size=4"),
        *(f"trainer.max_epochs={epochs}", "trainer.check_val_every_n_epoch=20", "targets=none"),
    ]
    environment = SLURM | {
        "FASHRET_CACHE": str(run.cache_dir), "OMP_NUM_THREADS": "1",
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    folder = here / "outputs" / "train" / "slurm-4711-0"
    first = subprocess.Popen(
        [sys.executable, str(ROOT / command[0]), *command[1:]],
        env=os.environ | environment, cwd=here, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGUSR1)  # what --signal=USR1@90 sends before the time is over
    first.wait(timeout=60)
    assert first.returncode == 0
    assert told.read_text() == "requeue 4711\n"
    left = torch.load(folder / "checkpoints" / "requeued.ckpt", weights_only=True)
    assert 0 < left["global_step"] < 12 * epochs
    second = forked(command, here, environment | {"SLURM_RESTART_COUNT": "1"})
    assert second.returncode == 0, second.stderr[-2000:]
    assert f"resuming from {folder / 'checkpoints' / 'requeued.ckpt'}" in second.stdout
    assert [path.name for path in (here / "outputs" / "train").iterdir()] == [folder.name]
    ended = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert (ended["epoch"], ended["global_step"]) == (epochs - 1, 12 * epochs)
    assert [line["epoch"] for line in lines(folder)] == [0, 20, 40, 60]
    assert (folder / "metrics.json").is_file()
