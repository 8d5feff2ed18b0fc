"""A batch that memory does not hold."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.engine.memory import retry_forward
from fashret.errors import TrainingError
from fashret.models.backbone import Backbone
from support.commands import Run

pytestmark = pytest.mark.usefixtures("stand_ins")
TOWERS = (
    *(
        "model.name=stand-in-vit",
        "model.pretrained=null",
        "model.train=all",
    ),  # no batch normalisation
    *("trainer.max_epochs=1", "optimizer.lr=1e-4"),
)


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let an image tower with gradients fail above so many photos, as a small GPU would."""
    sizes: list[int] = []
    plain = Backbone.encode_image

    def encode_image(self: Backbone, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            sizes.append(len(images))
            if len(images) > most:
                torch.rand(3)  # what a layer with dropout would have drawn
                raise torch.OutOfMemoryError("no memory")
        return plain(self, images)

    monkeypatch.setattr(Backbone, "encode_image", encode_image)
    return sizes


def test_a_batch_that_memory_does_not_hold_is_retried_in_chunks(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run("train", *TOWERS, "model.chunk=4", folder="chunked")
    sizes = limited(monkeypatch, 4)
    with caplog.at_level(logging.WARNING):
        folder = run("train", *TOWERS, folder="retried")
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[3:]) == 4  # it stays at what fits
    assert "out of memory at model.chunk=16: retrying the batch with 8" in caplog.text
    states = [
        torch.load(f / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for f in (expected, folder)
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_memory_that_does_not_hold_one_item_is_an_error_that_says_what_to_set(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 0)
    message = "out of memory while training, with batches of 16 items .*model.chunk=1.*batch_size"
    with pytest.raises(TrainingError, match=message):
        run("train", *TOWERS)


def test_all_processes_encode_again_where_one_has_no_memory() -> None:
    """The other process failed in the first attempt, this one did not."""
    calls, answers = [], iter([False, True])

    class Strategy:
        def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:
            assert decision
            assert all
            return next(answers)

    class Trainer:
        world_size = 2
        strategy = Strategy()

    class Towers:
        encodes_while_training = True
        chunk: int | None = None
        last_batch = 12

        def halve_chunk(self, size: int) -> int:
            self.chunk = size // 2
            return self.chunk

    def encode() -> Tensor:
        calls.append(float(torch.rand(1)))
        return torch.ones(1)

    towers: Any = Towers()
    retry_forward(encode, towers, 12, Trainer())
    assert towers.chunk == 6
    assert len(calls) == 2
    assert calls[0] == calls[1]  # random generators were set back
