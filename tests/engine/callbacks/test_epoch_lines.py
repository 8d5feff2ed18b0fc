"""What training says where there is no progress bar: a line an epoch, and the model's size."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fashret.engine.callbacks import epoch_lines
from fashret.engine.callbacks.epoch_lines import EpochLines
from support.commands import Run, lines
from support.terminal import TINY, output

LINE = re.compile(
    r"^epoch (?P<epoch>\d+)/(?P<epochs>\d+): loss (?P<loss>[\d.]+), "
    r"(?P<metric>\S+) (?P<value>[\d.]+) \(baseline (?P<baseline>[\d.]+)\), "
    r"(?P<left>\d\d:\d\d) left$",
    re.M,
)
METRIC = "val/text/pair/mrr@10"


def shown(text: str) -> list[dict[str, str]]:
    return [match.groupdict() for match in LINE.finditer(text)]


def test_each_epoch_has_a_line_and_a_resumed_run_goes_on_counting(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("trainer.max_epochs=3", "scheduler.epochs=3")
    run("train", *options, "trainer.max_epochs=2")
    first = shown(capsys.readouterr().out)
    folder = run("train", *options, f"resume={run.at('run')}")
    second = shown(capsys.readouterr().out)
    assert [(line["epoch"], line["epochs"]) for line in first] == [("1", "2"), ("2", "2")]
    assert [(line["epoch"], line["epochs"]) for line in second] == [("3", "3")]
    assert first[-1]["left"] == second[-1]["left"] == "00:00"
    logged = lines(folder)
    for line, held in zip([*first, *second], logged[1:], strict=True):
        assert line["metric"] == METRIC
        assert float(line["value"]) == pytest.approx(100 * held[METRIC], abs=0.006)
        assert float(line["baseline"]) == pytest.approx(100 * logged[0][METRIC], abs=0.006)
        assert float(line["loss"]) == pytest.approx(held["train/loss_epoch"], rel=1e-3)


def test_the_loss_of_accumulated_batches_is_that_of_a_batch(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is learned at a rate of zero, so that both have the same loss."""
    losses = []
    for batches in (1, 3):  # 48 training items are 3 batches of 16
        options = ("optimizer.lr=0.0", f"trainer.accumulate_grad_batches={batches}")
        folder = run("train", "trainer.max_epochs=1", *options, folder=f"run{batches}")
        line = shown(capsys.readouterr().out)[0]
        assert (line["epoch"], line["epochs"]) == ("1", "1")
        losses += [float(line["loss"]), lines(folder)[1]["train/loss_epoch"]]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-3)


def test_the_lines_can_be_switched_off(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("train", "trainer.max_epochs=1", "callbacks.epoch_lines=null")
    assert "epoch 1" not in capsys.readouterr().out


@pytest.mark.run
@pytest.mark.parametrize("columns", [80, None])
def test_a_file_has_no_control_characters_and_a_terminal_the_same_lines(
    columns: int | None, tmp_path: Path, cache_dir: Path
) -> None:
    command = ["train.py", *TINY, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path / 'run'}"]
    status, text = output(
        command, columns, FASHRET_CACHE=str(cache_dir if columns else tmp_path / "cache")
    )
    assert status == 0, text
    assert "FLOPs" not in text
    assert text.count("model: 164 K of 164 K parameters are trainable, 0.7 MB") == 1
    if columns is None:
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
        assert "━" not in text
        assert [line["epoch"] for line in shown(text)] == ["1", "2"]
    else:
        assert "━" in text
        plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n")
        for epoch in (1, 2):
            line = rf"^epoch {epoch}/2: loss [\d.]+, {METRIC} [\d.]+ \(baseline [\d.]+\), "
            assert len(re.findall(rf"{line}[\d:]+ left *$", plain, re.M)) == 1
        bars = [line for line in plain.splitlines() if "━" in line]
        assert bars
        for bar in bars:  # none is parted in two
            assert re.fullmatch(
                r"(Epoch \d/\d|Validation) +━.* \d+/\d+ \d:.* \S+ *(\S+: [\d.]+)?", bar
            )
    assert json.loads((tmp_path / "run" / "scoreboard.json").read_text())["rows"]


class Printed:
    """In place of a module: keeps what is printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, line: str, *, flush: bool) -> None:
        assert flush
        self.lines.append(line)


def line_of(
    monkeypatch: pytest.MonkeyPatch,
    *,
    value: float | None = 0.31236,
    baseline: float | None = 0.201,
    monitor: str = METRIC,
    losses: tuple[float, ...] = (0.5, 1.25),
    seconds: float = 30.0,
    **given: Any,
) -> list[str]:
    """What an epoch prints that began at step 3 of 12 and ended at step 6."""
    now = [1000.0]
    monkeypatch.setattr(epoch_lines.time, "perf_counter", lambda: now[0])
    plain: dict[str, Any] = {
        "is_global_zero": True, "global_step": 3, "current_epoch": 1, "accumulate_grad_batches": 2,
        "num_training_batches": 5, "estimated_stepping_batches": 12,
        "callback_metrics": {} if value is None else {monitor: torch.tensor(value)},
    }  # fmt: skip
    trainer: Any = SimpleNamespace(**plain | given)
    module: Any = Printed()
    callback = EpochLines(monitor)
    callback.baseline = baseline
    callback.on_train_start(trainer, module)
    for _ in range(2):  # the first epoch leaves nothing behind
        callback.on_train_epoch_start(trainer, module)
        for loss in losses:
            callback.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, 0)
        callback.on_validation_end(trainer, module)
    now[0] += seconds
    trainer.global_step += given.get("done", 3)
    callback.on_train_epoch_end(trainer, module)
    found: list[str] = module.lines
    return found


def test_a_line_has_the_loss_the_metric_and_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Losses of halves, so that the mean is that of 1 and 2.5; 5 batches are 3 steps, so that 12
    # steps are 4 epochs; 3 steps took 30 seconds and 6 are left.
    assert line_of(monkeypatch) == [
        f"epoch 2/4: loss 1.750, {METRIC} 31.24 (baseline 20.10), 01:00 left"
    ]
    hours = line_of(monkeypatch, seconds=3600.0)
    assert hours[0].endswith("(baseline 20.10), 2:00:00 left")
    last = line_of(monkeypatch, estimated_stepping_batches=6)
    assert last[0].startswith("epoch 2/2: ")
    assert last[0].endswith(", 00:00 left")
    over = line_of(monkeypatch, estimated_stepping_batches=5)  # never less than nothing
    assert over[0].endswith(", 00:00 left")


def test_what_is_not_known_is_left_out_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line_of(monkeypatch, baseline=None) == [
        f"epoch 2/4: loss 1.750, {METRIC} 31.24, 01:00 left"
    ]
    assert line_of(monkeypatch, value=None) == ["epoch 2/4: loss 1.750, 01:00 left"]
    assert line_of(monkeypatch, losses=(), value=None) == ["epoch 2/4: 01:00 left"]
    assert line_of(monkeypatch, done=0) == [
        f"epoch 2/4: loss 1.750, {METRIC} 31.24 (baseline 20.10)"
    ]
    endless = line_of(monkeypatch, estimated_stepping_batches=float("inf"), value=None)
    assert endless == ["epoch 2: loss 1.750"]
    assert line_of(monkeypatch, num_training_batches=0, value=None) == ["epoch 2: loss 1.750"]
    assert line_of(monkeypatch, is_global_zero=False) == []


def test_only_validation_metrics_are_in_points(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = line_of(monkeypatch, monitor="train/loss", value=0.123456, baseline=2.0)
    assert shown == ["epoch 2/4: loss 1.750, train/loss 0.1235 (baseline 2), 01:00 left"]
