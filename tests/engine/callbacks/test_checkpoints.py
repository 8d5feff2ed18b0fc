"""Checkpoints that are kept."""

import json

import pytest
import torch

from support.commands import Run, lines

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_the_best_of_several_checkpoints_is_the_best_and_every_epoch_can_be_kept(run: Run) -> None:
    folder = run(
        "train",
        "callbacks=every_epoch",
        "callbacks.best_checkpoint.save_top_k=3",
        "callbacks.best_checkpoint.mode=min",  # the lowest, so that it is not the last
        "trainer.max_epochs=5",
        "ckpt=best",
    )
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    every = [f"epoch={epoch:03d}.ckpt" for epoch in range(5)]
    assert [name for name in kept if name.startswith("epoch=")] == every
    assert len([name for name in kept if name.startswith("best-epoch=")]) == 3
    reached = [line["val/text/pair/mrr@10"] for line in lines(folder)][1:]
    best = min(range(5), key=lambda epoch: reached[epoch])
    assert best < 4, "the last epoch must not be the best, or this shows nothing"
    states = [
        torch.load(folder / "checkpoints" / name, weights_only=True)
        for name in ("best.ckpt", f"epoch={best:03d}.ckpt")
    ]
    assert states[0]["epoch"] == states[1]["epoch"] == best
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name])
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert metrics["val/text/pair/mrr@10"]["value"] == pytest.approx(reached[best], abs=1e-9)
