"""What training says where there is no progress bar: a line an epoch, and the model's size."""

import json
import re
from pathlib import Path

import pytest

from support.commands import Run, lines
from support.terminal import TINY, output

pytestmark = pytest.mark.run

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
