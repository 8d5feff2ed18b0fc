"""A batch that memory does not hold."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.engine.memory import RandomState, retry_forward, retry_step
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


class Towers:
    """In place of a retriever: encodes at most `most` items at a time."""

    encodes_while_training = True
    last_batch = 16

    def __init__(self, most: int, chunk: int | None = None) -> None:
        self.most, self.chunk = most, chunk
        self.calls: list[tuple[int, float]] = []

    def halve_chunk(self, size: int) -> int | None:
        chunk = min(self.chunk or size, size)
        if chunk < 2:
            return None
        self.chunk = chunk // 2
        return self.chunk

    def encode(self) -> str:
        size = self.chunk or self.last_batch
        self.calls.append((size, float(torch.rand(1))))
        if size > self.most:
            raise torch.OutOfMemoryError("no memory")
        return "encoded"


def module_of(world: int = 1, accumulated: int = 1) -> Any:
    cleared: list[bool] = []
    return SimpleNamespace(
        trainer=SimpleNamespace(world_size=world, accumulate_grad_batches=accumulated),
        zero_grad=lambda set_to_none: cleared.append(set_to_none),
        cleared=cleared,
    )


def test_a_step_is_repeated_with_half_the_chunk_until_it_fits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    towers: Any = Towers(4)
    module = module_of()
    with caplog.at_level(logging.WARNING):
        assert retry_step(towers.encode, towers, module)() == "encoded"
    sizes, draws = zip(*towers.calls, strict=True)
    assert sizes == (16, 8, 4)
    assert len(set(draws)) == 1  # the same step, with the same random numbers
    assert module.cleared == [True, True]
    assert [record.args for record in caplog.records] == [(16, 8, 8), (8, 4, 4)]
    other: Any = Towers(4, chunk=40)  # of a batch of 16 items
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        retry_step(other.encode, other, module)()
    assert caplog.records[0].args == (16, 8, 8)


def test_a_step_that_fits_is_taken_once() -> None:
    towers: Any = Towers(16)
    module = module_of()
    retry_step(towers.encode, towers, module)()
    assert [size for size, _ in towers.calls] == [16]
    assert module.cleared == []


@pytest.mark.parametrize(("world", "accumulated"), [(2, 1), (1, 2), (2, 2)])
def test_a_step_is_not_repeated_where_gradients_were_exchanged_or_added_up(
    world: int, accumulated: int
) -> None:
    towers: Any = Towers(4)
    module = module_of(world, accumulated)
    with pytest.raises(TrainingError, match=r"with batches of 16 items .* model\.chunk=null"):
        retry_step(towers.encode, towers, module)()
    assert [size for size, _ in towers.calls] == [16]
    assert module.cleared == []


def test_a_single_item_that_does_not_fit_is_an_error() -> None:
    towers: Any = Towers(0)
    with pytest.raises(TrainingError, match=r"and model\.chunk=1\. Set a smaller model.chunk"):
        retry_step(towers.encode, towers, module_of())()
    assert [size for size, _ in towers.calls] == [16, 8, 4, 2, 1]


def test_heads_alone_are_not_repeated() -> None:
    towers: Any = Towers(4)
    towers.encodes_while_training = False
    assert retry_step(towers.encode, towers, module_of()) == towers.encode
    with pytest.raises(torch.OutOfMemoryError):
        retry_forward(towers.encode, towers, 16, module_of(world=2).trainer)


def test_a_single_process_leaves_a_lack_of_memory_to_the_step() -> None:
    towers: Any = Towers(4)
    with pytest.raises(torch.OutOfMemoryError):
        retry_forward(towers.encode, towers, 16, module_of().trainer)
    assert len(towers.calls) == 1
    assert towers.chunk is None


def test_processes_halve_their_chunks_until_all_have_memory() -> None:
    towers: Any = Towers(4)
    decisions: list[bool] = []

    def decide(decision: bool, all: bool) -> bool:
        assert all
        decisions.append(decision)
        return decision

    trainer = module_of(world=2).trainer
    trainer.strategy = SimpleNamespace(reduce_boolean_decision=decide)
    assert retry_forward(towers.encode, towers, 16, trainer) == "encoded"
    assert decisions == [False, False, True]
    assert len({draw for _, draw in towers.calls}) == 1
    never: Any = Towers(0)
    with pytest.raises(TrainingError, match=r"model\.chunk=1"):
        retry_forward(never.encode, never, 16, trainer)


def test_random_generators_are_set_back() -> None:
    state = RandomState()
    first = torch.rand(3)
    state.restore()
    assert torch.equal(torch.rand(3), first)
