"""A SLURM job that is told of its end: saved and requeued at the end of a batch."""

import os
import signal
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fashret.engine.callbacks import requeue
from fashret.engine.callbacks.requeue import Requeue


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    return monkeypatch


class Trainer:
    """In place of Lightning's: processes agree, and what is saved is kept."""

    def __init__(self, *, zero: bool = True, others: bool = False) -> None:
        self.saved: list[str] = []
        self.is_global_zero = zero
        self.told: list[Any] = []
        self.strategy = SimpleNamespace(
            reduce_boolean_decision=self.any_of(others), broadcast=self.broadcast
        )

    @staticmethod
    def any_of(others: bool) -> Any:
        def decide(decision: bool, all: bool) -> bool:
            assert not all
            return decision or others

        return decide

    def broadcast(self, value: Any) -> Any:
        self.told.append(value)
        return value

    def save_checkpoint(self, path: Any) -> None:
        self.saved.append(str(path))


def commands(monkeypatch: pytest.MonkeyPatch, fault: Exception | None = None) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> None:
        assert check
        asked.append(command)
        if fault is not None:
            raise fault

    monkeypatch.setattr(requeue.subprocess, "run", run)
    return asked


def ended(callback: Requeue, trainer: Any) -> None:
    nothing: Any = None
    callback.on_train_batch_end(trainer, nothing, None, None, 0)


def test_a_signal_is_answered_at_the_end_of_the_batch(job: pytest.MonkeyPatch) -> None:
    asked = commands(job)
    callback, trainer = Requeue("here/requeue.ckpt"), Trainer()
    nothing: Any = None
    callback.on_fit_start(trainer, nothing)  # type: ignore[arg-type]  # in place of a trainer
    ended(callback, trainer)
    assert trainer.saved == []  # no signal yet
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(SystemExit) as left:
        ended(callback, trainer)
    assert left.value.code == 0
    assert trainer.saved == ["here/requeue.ckpt"]
    assert asked == [["scontrol", "requeue", "77"]]


@pytest.mark.parametrize("fault", [OSError("no scontrol"), subprocess.CalledProcessError(1, "x")])
def test_a_job_that_cannot_be_requeued_goes_on(
    job: pytest.MonkeyPatch, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    commands(job, fault)
    callback, trainer = Requeue("requeue.ckpt"), Trainer()
    nothing: Any = None
    callback.on_fit_start(trainer, nothing)  # type: ignore[arg-type]  # in place of a trainer
    os.kill(os.getpid(), signal.SIGUSR1)
    ended(callback, trainer)
    assert trainer.saved == ["requeue.ckpt"]
    assert "cannot requeue job 77" in caplog.text
    ended(callback, trainer)  # one signal is answered once
    assert trainer.saved == ["requeue.ckpt"]


def test_a_signal_of_another_process_saves_too_and_the_first_process_requeues(
    job: pytest.MonkeyPatch,
) -> None:
    asked = commands(job)
    trainer = Trainer(zero=False, others=True)
    ended(Requeue("requeue.ckpt"), trainer)
    assert trainer.saved == ["requeue.ckpt"]
    assert asked == []
    assert trainer.told == [False]  # what the first process says instead


def test_without_slurm_nothing_is_done(job: pytest.MonkeyPatch) -> None:
    job.delenv("SLURM_JOB_ID")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    callback, trainer = Requeue("requeue.ckpt"), Trainer(others=True)
    nothing: Any = None
    callback.on_fit_start(trainer, nothing)  # type: ignore[arg-type]  # in place of a trainer
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    ended(callback, trainer)
    assert trainer.saved == []


def test_a_task_of_an_array_is_requeued_by_its_number(job: pytest.MonkeyPatch) -> None:
    job.setenv("SLURM_ARRAY_JOB_ID", "70")
    job.setenv("SLURM_ARRAY_TASK_ID", "3")
    asked = commands(job)
    with pytest.raises(SystemExit):
        ended(Requeue("requeue.ckpt"), Trainer(others=True))
    assert asked == [["scontrol", "requeue", "70_3"]]
