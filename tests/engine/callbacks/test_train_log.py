"""The lines of train_log.jsonl, and the loss and throughput of an epoch."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fashret.engine.callbacks import train_log
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.engine.callbacks.train_log import TrainLog


def trainer_of(**given: Any) -> Any:
    state = SimpleNamespace(fn="fit")
    plain: dict[str, Any] = {
        "is_global_zero": True, "global_step": 30, "current_epoch": 2, "world_size": 1,
        "accumulate_grad_batches": 1, "sanity_checking": False, "state": state,
        "callback_metrics": {}, "callbacks": [],
    }  # fmt: skip
    return SimpleNamespace(**plain | given)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended_and_what_is_not_known_is_null(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    log = TrainLog(str(path))
    assert log.is_empty
    log.write({"a": 0.5, "b": math.nan}, epoch=0, step=0)
    assert not log.is_empty
    log.write({"a": 0.0}, epoch=1, step=4)
    assert lines(path) == [
        {"epoch": 0, "step": 0, "a": 0.5, "b": None}, {"epoch": 1, "step": 4, "a": 0.0},
    ]  # fmt: skip
    path.write_text(" \n")
    assert log.is_empty


@pytest.mark.parametrize(("zero", "kept"), [(True, [0, 8]), (False, [0, 8, 9])])
def test_a_resumed_run_drops_the_lines_of_later_steps(
    tmp_path: Path, zero: bool, kept: list[int]
) -> None:
    log = TrainLog(str(tmp_path / "log.jsonl"))
    nothing: Any = None
    log.on_train_start(trainer_of(), nothing)  # there is no file yet
    for step in (0, 8, 9):
        log.write({}, epoch=0, step=step)
    log.on_train_start(trainer_of(global_step=8, is_global_zero=zero), nothing)
    assert [line["step"] for line in lines(log.path)] == kept
    log.write({}, epoch=1, step=12)
    assert [line["step"] for line in lines(log.path)] == [*kept, 12]


def trained(log: TrainLog, trainer: Any, clock: list[float]) -> None:
    """Three batches, a second each, after ten seconds of something else."""
    nothing: Any = None
    clock[0] += 10.0
    log.on_train_epoch_start(trainer, nothing)
    for loss in (1.0, 2.0, 6.0):
        clock[0] += 1.0
        batch = {"a": {"index": torch.arange(5)}, "b": {"index": torch.arange(3)}}
        log.on_train_batch_end(trainer, nothing, {"loss": torch.tensor(loss)}, batch, 0)
    clock[0] += 5.0  # an evaluation, which does not count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(train_log.time, "perf_counter", lambda: now[0])
    return now


def test_loss_and_throughput_are_those_of_the_epoch(tmp_path: Path, clock: list[float]) -> None:
    for world, accumulated in ((1, 1), (2, 4)):
        log = TrainLog(str(tmp_path / "log.jsonl"))
        trainer = trainer_of(world_size=world, accumulate_grad_batches=accumulated)
        logged: dict[str, Any] = {}
        module: Any = SimpleNamespace(
            log=lambda name, value, *, sync_dist, to=logged: to.update({name: (value, sync_dist)})
        )
        log.on_train_epoch_end(trainer, module)
        assert logged == {}  # nothing was trained
        trained(log, trainer, clock)
        log.on_train_epoch_end(trainer, module)
        # a mean of 3 per batch, which Lightning gave divided by what it accumulates; 8 items a
        # second and process
        assert logged == {
            "train/loss_epoch": (pytest.approx(3.0 * accumulated), world > 1),
            "train/items_per_s": (pytest.approx(8.0 * world), world > 1),
        }
        trained(log, trainer, clock)
        log.on_train_epoch_end(trainer, module)
        assert logged["train/loss_epoch"][0] == pytest.approx(3.0 * accumulated)  # begun anew


def test_an_evaluation_writes_what_training_logged_and_every_metric(
    tmp_path: Path, clock: list[float]
) -> None:
    log, evaluation = TrainLog(str(tmp_path / "log.jsonl")), RetrievalEvaluation()
    evaluation.means = {"val/x": 0.25, "val/y": math.nan}
    metrics = {"train/lr": torch.tensor(0.5), "val/x": torch.tensor(0.24), "mix/seen": 1.0}
    trainer = trainer_of(callback_metrics=metrics, callbacks=[log, evaluation])
    trained(log, trainer, clock)
    nothing: Any = None
    log.on_validation_end(trainer, nothing)
    assert lines(log.path) == [
        {"epoch": 3, "step": 30, "train/lr": 0.5, "train/loss_epoch": pytest.approx(3.0),
         "train/items_per_s": pytest.approx(8.0), "val/x": 0.25, "val/y": None}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"sanity_checking": True},
        {"state": SimpleNamespace(fn="validate")},
        {"is_global_zero": False},
    ],
)
def test_no_line_is_written_but_by_an_evaluation_during_training(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    log, nothing = TrainLog(str(tmp_path / "log.jsonl")), None
    log.on_validation_end(trainer_of(**given), nothing)  # type: ignore[arg-type]  # no module
    assert log.is_empty
