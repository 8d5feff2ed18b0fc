"""What a run logs, and an epoch that teaches nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fashret.engine.module import RetrievalModule
from fashret.errors import TrainingError
from fashret.tasks import caption
from fashret.types import Batch, Relations
from support.commands import Run


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """The values of a TensorBoard tag by step."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 3, 4, 6, 8, 9]), (10, [3, 6, 9])])
def test_tensorboard_shows_each_value_at_its_own_step(
    run: Run, monkeypatch: pytest.MonkeyPatch, every: int, steps: list[int]
) -> None:
    """Three epochs of three batches: every nth step, and the last of each epoch."""
    losses: dict[int, float] = {}
    plain = RetrievalModule.training_step

    def recorded(self: RetrievalModule, step: dict[str, Batch], batch_idx: int) -> Tensor:
        loss = plain(self, step, batch_idx)
        losses[self.global_step + 1] = float(loss.detach())
        return loss

    monkeypatch.setattr(RetrievalModule, "training_step", recorded)
    options = (f"trainer.log_every_n_steps={every}", "trainer.max_epochs=3", "optimizer.lr=0.01")
    folder = run("train", *options)
    assert sorted(losses) == list(range(1, 10))
    shown = scalars(folder, "train/loss")
    assert list(shown) == steps
    assert shown == pytest.approx({step: losses[step] for step in steps}, rel=1e-5)
    # warmup 0.1 of 9 steps: a rise of 0.9 steps, then a cosine over the other 8.1
    rates = scalars(folder, "train/lr")
    assert list(rates) == steps
    cosine = [0.5 * (1 + torch.cos(torch.tensor(3.14159265 * (s - 1 - 0.9) / 8.1))) for s in steps]
    assert list(rates.values()) == pytest.approx([0.01 * float(c) for c in cosine], rel=1e-4)
    assert set(scalars(folder, "train/rows_without_pair")) == set(steps)


def test_an_epoch_without_a_valid_pair_ends_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(rows: Batch, columns: Batch, **_: Any) -> Relations:
        shape = (len(rows["index"]), len(columns["index"]))
        return Relations(torch.zeros(shape).bool(), torch.zeros(shape).bool())

    monkeypatch.setattr(caption, "pair_relations", none)
    with pytest.raises(TrainingError, match="nothing was learned in this epoch"):
        run("train", "trainer.max_epochs=3")
    assert not list(run.at("run").glob("checkpoints/*.ckpt"))
    assert set(scalars(run.at("run"), "train/rows_without_pair").values()) == {1.0}
