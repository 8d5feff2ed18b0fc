"""How commands begin and end: the version, Ctrl+C, and the folders that a failure leaves."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fashret.version import __version__
from support.forked import forked
from support.terminal import ROOT, TINY, output

pytestmark = pytest.mark.run


def environment(cache_dir: Path) -> dict[str, str]:
    return {**os.environ, "FASHRET_CACHE": str(cache_dir), "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    "command",
    [["train.py"], ["evaluate.py"], ["build_catalog.py"], ["-m", "fashret.cli.demo"],
     ["-m", "fashret.cli.export"], ["-m", "fashret.cli.view"]],
)  # fmt: skip
def test_version_is_that_of_fashret(command: list[str]) -> None:
    assert output([*command, "--version"], None) == (0, f"fashret {__version__}\n")


@pytest.mark.parametrize(
    ("before", "arguments", "left"),
    [
        ([], ["data=nonexistent"], []),
        ([], ["model.train=bogus"], []),
        ([], ["data=folder", "data.root=missing"], []),
        (["outputs/train"], ["model.train=bogus"], ["outputs", "outputs/train"]),
        (["outputs/evaluate/other"], ["model.train=bogus"],
         ["outputs", "outputs/evaluate", "outputs/evaluate/other"]),
        (["given"], ["model.train=bogus", "hydra.run.dir=given"],
         ["given", "given/.hydra", "given/train.log"]),
    ],
)  # fmt: skip
def test_a_command_that_fails_leaves_no_empty_folder(
    before: list[str], arguments: list[str], left: list[str], tmp_path: Path
) -> None:
    for folder in before:
        (tmp_path / folder).mkdir(parents=True)
    done = forked(["train.py", *arguments], tmp_path, environment(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(name for name in found if ".hydra/" not in name) == left


def test_a_command_that_fails_keeps_a_folder_with_something_in_it(
    tmp_path: Path, cache_dir: Path
) -> None:
    """The run fails at its end, and its results stay."""
    given = ["trainer.max_epochs=1", "monitor=val/text/pair/mrr@11"]
    given += ["callbacks.best_checkpoint=null", "callbacks.epoch_lines=null"]
    given.append("hydra.run.dir=kept")
    done = forked(["train.py", *TINY, *given], tmp_path, environment(cache_dir))
    assert done.returncode == 1
    assert "monitor=val/text/pair/mrr@11 is not a metric of this run" in done.stderr
    assert (tmp_path / "kept" / "metrics.json").is_file()


def test_a_failed_job_of_a_sweep_keeps_its_folder(tmp_path: Path) -> None:
    words = ["train.py", "-m", "model.train=bogus", "seed=0", "hydra.sweep.dir=swept"]
    forked(words, tmp_path, environment(tmp_path / "cache")).check_returncode()
    assert (tmp_path / "swept" / "0" / "failed.txt").read_text().startswith("model.train=bogus")


def interrupted_at(line: str, arguments: list[str], folder: Path, cache: Path) -> tuple[int, str]:
    """Train, press Ctrl+C when a line is written; the exit status, and what was said after it."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), *arguments],
        cwd=folder, env=environment(cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell's background jobs ignore the signal, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    for said in process.stdout:
        if said.startswith(line):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    return process.wait(timeout=120), rest


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(tmp_path: Path, cache_dir: Path) -> None:
    arguments = [*TINY, "trainer.max_epochs=400", "hydra.run.dir=run"]
    status, said = interrupted_at("epoch 2/400: ", arguments, tmp_path, cache_dir)
    assert status == 130
    assert "Traceback" not in said
    advice = said.splitlines()[-1]
    assert said.count("interrupted") == 1
    command = re.fullmatch(r"interrupted; to resume after the last finished epoch: (.*)", advice)
    assert command is not None, said
    assert command[1] == "python train.py resume=run"
    words = shlex.split(command[1].removeprefix("python "))
    last = int(re.findall(r"^epoch (\d+)/", "epoch 2/400\n" + said, re.M)[-1])
    words.append(f"trainer.max_epochs={last + 2}")
    done = forked(words, tmp_path, environment(cache_dir))
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^epoch (\d+)/(\d+): ", done.stdout, re.M)
    epochs = [int(epoch) for epoch, _ in lines]
    # The line of an epoch is written before its checkpoint, so that the last may come again.
    assert epochs[0] in (last, last + 1)
    assert epochs == list(range(epochs[0], last + 3))
    assert {of for _, of in lines} == {str(last + 2)}
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_a_run_that_is_interrupted_before_its_first_checkpoint_says_so(
    tmp_path: Path, cache_dir: Path
) -> None:
    arguments = [*TINY, "hydra.run.dir=run/here"]
    status, said = interrupted_at("data sample: ", arguments, tmp_path, cache_dir)
    assert status == 130
    assert "interrupted before the first epoch ended: no checkpoint was saved" in said
    assert "Traceback" not in said
