"""Runs that are lost or collapse."""

import pytest
import torch
from torch import Tensor

from fashret.errors import TrainingError
from fashret.functional.collapse import EmbeddingSpread
from fashret.losses import InfoNCE
from fashret.types import Relations
from support.commands import Run


@pytest.mark.parametrize(
    ("every", "unjudged", "message"),
    [
        (1, (), "the loss is nan at step 5"),
        (10, (), "embeddings contain NaN or Inf: 24 of 24 items"),
        (10, ("trainer.check_val_every_n_epoch=9",), "contains NaN or Inf at the end of the epoch"),
    ],
)
def test_a_run_that_is_lost_is_ended_with_the_last_good_weights(
    run: Run, monkeypatch: pytest.MonkeyPatch, every: int, unjudged: tuple[str, ...], message: str
) -> None:
    forward, calls = InfoNCE.forward, iter(range(100))

    def broken(self: InfoNCE, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        loss = forward(self, rows, columns, relations)
        return loss if next(calls) < 4 else loss * float("nan")  # 3 steps an epoch

    monkeypatch.setattr(InfoNCE, "forward", broken)
    options = ("trainer.max_epochs=4", f"trainer.log_every_n_steps={every}", *unjudged)
    with pytest.raises(TrainingError, match=rf"{message}.*last.ckpt\. Try a smaller optimizer.lr"):
        run("train", *options)
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0
    assert all(bool(value.isfinite().all()) for value in held["state_dict"].values())


def test_a_collapse_is_said_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = iter(
        [EmbeddingSpread(30.0, 0.2), EmbeddingSpread(25.0, 0.3), EmbeddingSpread(1.1, 0.99)]
    )
    monkeypatch.setattr(
        "fashret.engine.callbacks.watchdog.measure_spread", lambda embeddings: next(judged)
    )
    with pytest.raises(TrainingError, match=r"mean cosine similarity of photos 0.99 .*last.ckpt"):
        run("train", "trainer.max_epochs=3")
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0  # the epoch before
