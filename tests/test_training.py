"""One training run: what is logged, kept, refused and retried."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run, lines
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from fashret.data.learnable import check_learnable
from fashret.engine import module as engine_module
from fashret.engine.memory import retry_forward
from fashret.engine.module import RetrievalModule
from fashret.engine.weight_decay import DecayToInitial
from fashret.errors import ConfigError, DataError, TrainingError
from fashret.models.backbone import Backbone
from fashret.types import Batch, Relations, TrainingItems


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

    def recorded(self: RetrievalModule, batch: Batch, batch_idx: int) -> Tensor:
        loss = plain(self, batch, batch_idx)
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


def test_a_run_cannot_be_resumed_for_fewer_epochs_than_it_has(run: Run) -> None:
    folder = run("train", "trainer.max_epochs=2")
    with pytest.raises(ConfigError, match="has trained 2 epochs already: resume with"):
        run("train", "trainer.max_epochs=1", f"resume={folder}")


def items(caption: list[int], product: list[int], values: list[int] | None = None) -> TrainingItems:
    codes = torch.tensor(values or [-1] * len(caption))
    return TrainingItems(
        torch.arange(len(caption)),
        torch.tensor(product),
        torch.tensor(caption),
        {"category": (codes, ["tees", "coats"])},
        [str(i) for i in range(len(caption))],
    )


@pytest.mark.parametrize(
    ("caption", "product", "fault"),
    [
        ([-1, -1, -1], [0, 1, 2], "none of its 3 training items has a text"),
        ([4, 4, -1], [0, 1, 2], "its 3 training items have one and the same text"),
        ([0, 1, -1], [7, 7, 2], "all of its 2 training items with a text are one product"),
    ],
)
def test_data_without_a_valid_pair_are_refused(
    caption: list[int], product: list[int], fault: str
) -> None:
    made = items(caption, product)
    with pytest.raises(DataError, match=f"data shop has nothing to train on: {fault}"):
        check_learnable(made, made.caption, data="shop", batch_items=8, values=True)
    with_values = items(caption, product, [0, 1, -1])
    with pytest.raises(DataError, match=fault):
        check_learnable(with_values, made.caption, data="shop", batch_items=8, values=False)
    check_learnable(with_values, made.caption, data="shop", batch_items=8, values=True)


def test_two_items_that_differ_are_enough_and_a_batch_of_one_is_not() -> None:
    made = items([0, 1], [-1, -1])  # unknown products are different ones
    check_learnable(made, made.caption, data="shop", batch_items=2, values=False)
    with pytest.raises(ConfigError, match=r"data.batch_size=1: a batch of one item"):
        check_learnable(made, made.caption, data="shop", batch_items=1, values=True)


def test_photos_without_texts_end_the_run_before_its_first_step(run: Run, tmp_path: Path) -> None:
    for kind, colour in (("tees", "red"), ("coats", "blue")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            photo = Image.effect_noise((40, 40), 20 + number).convert("RGB")
            photo.paste(colour, (0, 0, 20, 20))
            photo.save(tmp_path / "photos" / kind / f"{kind}{number}.png")
    options = ("data=folder", f"data.root={tmp_path / 'photos'}", "data.num_workers=0")
    with pytest.raises(DataError, match=r"none of its 1. training items has a text"):
        run("train", *options, small=False)
    assert not (run.at("run") / "checkpoints").exists()


def test_an_epoch_without_a_valid_pair_ends_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(rows: Batch, columns: Batch, **_: Any) -> Relations:
        shape = (len(rows["index"]), len(columns["index"]))
        return Relations(torch.zeros(shape).bool(), torch.zeros(shape).bool())

    monkeypatch.setattr(engine_module, "pair_relations", none)
    with pytest.raises(TrainingError, match="nothing was learned in this epoch"):
        run("train", "trainer.max_epochs=3")
    assert not list(run.at("run").glob("checkpoints/*.ckpt"))
    assert set(scalars(run.at("run"), "train/rows_without_pair").values()) == {1.0}


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


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_weight_decay_pulls_a_head_towards_where_it_began(
    optimizer: type[torch.optim.Optimizer],
) -> None:
    """Without a gradient: p - lr * decay * (p - p0) for the head, p - lr * decay * p for others."""
    head, other = nn.Parameter(torch.tensor([5.0])), nn.Parameter(torch.tensor([5.0]))
    made = optimizer([head, other], lr=0.1, weight_decay=0.5)  # type: ignore[call-arg]
    for parameter in (head, other):
        parameter.grad = torch.zeros(1)
    decay = DecayToInitial({head: torch.tensor([3.0])})
    decay.before_step(made)
    made.step()
    assert float(head) == pytest.approx(5.0 - 0.1 * 0.5 * (5.0 - 3.0))
    assert float(other) == pytest.approx(5.0 - 0.1 * 0.5 * 5.0)
