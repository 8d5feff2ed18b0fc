"""Runs that go on where they were stopped."""

import shutil

import pytest
import torch

from fashret.errors import ConfigError
from support.commands import Run, lines

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_a_run_cannot_be_resumed_for_fewer_epochs_than_it_has(run: Run) -> None:
    folder = run("train", "trainer.max_epochs=2")
    with pytest.raises(ConfigError, match="has trained 2 epochs already: resume with"):
        run("train", "trainer.max_epochs=1", f"resume={folder}")


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(run: Run) -> None:
    whole = ("trainer.max_epochs=4", "model.train=all", "scheduler.epochs=4")
    unbroken = run("train", *whole)
    stopped = run("train", *whole, "trainer.max_epochs=2", folder="stopped")
    run("train", *whole, f"resume={stopped}", folder="stopped")
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (unbroken, stopped)
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert [line["epoch"] for line in lines(stopped)] == [0, 1, 2, 3, 4]
    for mine, theirs in zip(lines(unbroken), lines(stopped), strict=True):
        for key in mine:
            if key.startswith("val/") or key == "train/loss_epoch":
                assert mine[key] == theirs[key], key


@pytest.mark.parametrize(
    "regime", [["miner=hard"], ["model.train=all", "data.num_workers=1"]], ids=["frozen", "all"]
)
def test_a_run_that_goes_on_within_an_epoch_sees_only_the_rest_of_it(
    run: Run, regime: list[str]
) -> None:
    # 48 training items are 6 batches of 8: step 8 is the second of the second epoch.
    kept = "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 8, "
    kept += f"dirpath: {run.at('kept')}, save_top_k: -1}}"
    whole = ("trainer.max_epochs=3", "data.batch_size=8", *regime, f"+callbacks.within={kept}")
    unbroken = run("train", *whole)
    stopped = run("train", *whole, "trainer.max_epochs=1", folder="stopped")
    shutil.copy(run.at("kept") / "epoch=1-step=8.ckpt", stopped / "checkpoints" / "last.ckpt")
    run("train", *whole, f"resume={stopped}", folder="stopped")
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (unbroken, stopped)
    ]
    assert [state["global_step"] for state in states] == [18, 18]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
