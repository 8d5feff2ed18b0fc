"""Weights between before and after."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fashret.engine.callbacks import PowerEMA, WiseFT
from fashret.engine.callbacks.averaging import Averaging
from fashret.engine.module import RetrievalModule
from fashret.engine.schedules import constant
from fashret.errors import ConfigError
from fashret.losses import AttributeBlocks, InfoNCE
from fashret.miners.none import NoMiner
from fashret.models.backbone import load_backbone
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from support.batches import batch
from support.commands import Run

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_weights_between_before_and_after(run: Run) -> None:
    alpha, options = 0.25, ("trainer.max_epochs=2", "seed=5")
    run("train", *options, folder="plain")
    mixed = run("train", *options, "callbacks=wise_ft", f"callbacks.wise_ft.alpha={alpha}")

    def state(folder: Path, key: str) -> dict[str, Tensor]:
        held: dict[str, Tensor] = torch.load(
            folder / "checkpoints" / "last.ckpt", weights_only=True
        )[key]
        return held

    after = state(run.at("plain"), "state_dict")
    own = state(mixed, "current_model_state")  # training is not disturbed
    name = "retriever.image_head.weight"
    assert torch.equal(own[name], after[name])
    from fashret.models.spec import ModelSpec

    given = ModelSpec(
        name="fashret-tiny", pretrained="fashion", train="heads", train_blocks=1, heads=True,
        resize="longest", fill=255, seed=0,
    )  # fmt: skip
    before = Retriever.from_backbone(load_backbone(given, run.cache_dir)).image_head.weight
    expected = (1 - alpha) * before + alpha * after[name]
    assert torch.allclose(state(mixed, "state_dict")[name], expected, atol=1e-7)
    assert not torch.allclose(after[name], before, atol=1e-4)


def test_a_mix_beyond_the_line_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha=1\.5 of WiseFT must be between 0 and 1"):
        WiseFT(alpha=1.5)


@pytest.mark.parametrize("alpha", [-0.01, 1.01])
def test_a_share_is_within_zero_and_one(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"alpha={alpha} of WiseFT must be between 0 and 1"):
        WiseFT(alpha=alpha)


class Climbing(pl.LightningModule):
    """A weight that is 10 and the number of steps taken, and what it was at each moment."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 10.0, dtype=torch.float64))
        self.fixed = nn.Parameter(torch.full((1,), 7.0), requires_grad=False)
        self.mask: Tensor
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1), persistent=False)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(1))
        self.trained: list[float] = []
        self.judged: list[tuple[float, float, float]] = []

    def training_step(self, batch: Any) -> Tensor:
        self.trained.append(self.weight.item())
        self.mean += 2.0  # what batch norm does
        return -self.weight.sum()

    def validation_step(self, batch: Any) -> None:
        self.judged.append((self.weight.item(), self.mean.item(), self.fixed.item()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=1.0)


def climbed(alpha: float | None) -> Climbing:
    """Two epochs of three steps."""
    module, loader = Climbing(), DataLoader[Any](TensorDataset(torch.zeros(3, 1)))
    callback = WiseFT() if alpha is None else WiseFT(alpha)
    pl.Trainer(
        accelerator="cpu", max_epochs=2, callbacks=[callback], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, loader, DataLoader[Any](TensorDataset(torch.zeros(1, 1))))  # fmt: skip
    return module


@pytest.mark.parametrize(("given", "alpha"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (None, 0.5)])
def test_what_is_judged_and_left_lies_between_before_and_now(
    given: float | None, alpha: float
) -> None:
    module = climbed(given)
    assert module.trained == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]  # training is not disturbed
    # Before training (a check), after three steps and after six.
    assert module.judged == [
        (pytest.approx(10.0 + alpha * steps), pytest.approx(2.0 * alpha * steps), 7.0)
        for steps in (0, 3, 6)
    ]
    assert module.weight.item() == pytest.approx(10.0 + 6.0 * alpha)
    assert module.mean.item() == pytest.approx(12.0 * alpha)
    assert module.mask.tolist() == [[0.0, -torch.inf], [0.0, 0.0]]


def heads() -> RetrievalModule:
    """A module of which the image head learns, but the text head does not."""
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(4, 3, generator=generator), torch.randn(4, 5, generator=generator)
    retriever = Retriever(Projection(image, None), Projection(text, None))
    retriever.text_head.weight.requires_grad_(False)
    return RetrievalModule(
        retriever, InfoNCE(), NoMiner(), AttributeBlocks(), partial(torch.optim.SGD, lr=0.5),
        constant, {},
    )  # fmt: skip


def fitted(
    path: Path, callback: Averaging | None, *, epochs: int, resumed: Path | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The checkpoint of the last epoch, and the weights that are left after it."""
    drawn = torch.Generator().manual_seed(3)
    features = {
        "image_features": torch.randn(6, 3, generator=drawn),
        "text_features": torch.randn(6, 5, generator=drawn),
    }
    module: Any = heads()
    module.on_train_batch_end = lambda *args: None
    saved = pl.callbacks.ModelCheckpoint(str(path), "last", enable_version_counter=False)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[saved, *([] if callback is None else [callback])],
    )  # fmt: skip
    steps: Any = [{"caption": batch() | features} for _ in range(2)]
    loader = DataLoader[Any](steps, batch_size=None)
    trainer.fit(module, loader, ckpt_path=None if resumed is None else str(resumed / "last.ckpt"))
    left = {name: p.detach().clone() for name, p in module.named_parameters()}
    return torch.load(path / "last.ckpt", weights_only=True), left


HEAD, TEXT = "retriever.image_head.weight", "retriever.text_head.weight"


def test_a_checkpoint_has_the_mix_and_the_weights_that_training_goes_on_with(
    tmp_path: Path,
) -> None:
    plain = fitted(tmp_path / "plain", None, epochs=2)[0]["state_dict"]
    held, left = fitted(tmp_path / "mixed", WiseFT(0.25), epochs=2)
    own = held["current_model_state"]
    assert set(own) == set(held["state_dict"]) == set(plain)
    assert TEXT not in own  # it was not trained
    assert torch.equal(own[HEAD], plain[HEAD])
    before = heads().retriever.image_head.weight.detach()
    torch.testing.assert_close(held["state_dict"][HEAD], 0.75 * before + 0.25 * plain[HEAD])
    assert torch.equal(left[HEAD], held["state_dict"][HEAD])
    assert not torch.allclose(plain[HEAD], before, atol=1e-3)


@pytest.mark.parametrize("make", [partial(WiseFT, 0.25), partial(PowerEMA, 2.0)])
def test_a_resumed_average_is_that_of_an_unbroken_run(make: Any, tmp_path: Path) -> None:
    whole, left = fitted(tmp_path / "whole", make(), epochs=4)
    fitted(tmp_path / "part", make(), epochs=2)
    resumed, left_too = fitted(tmp_path / "rest", make(), epochs=4, resumed=tmp_path / "part")
    for state in ("state_dict", "current_model_state"):
        assert resumed[state].keys() == whole[state].keys()
        for name, value in whole[state].items():
            torch.testing.assert_close(resumed[state][name], value)
    for name, value in left.items():
        torch.testing.assert_close(left_too[name], value)
    assert not torch.equal(whole["state_dict"][HEAD], whole["current_model_state"][HEAD])


def test_a_run_goes_on_from_a_checkpoint_without_an_average(tmp_path: Path) -> None:
    """The untrained weights are those before the checkpoint was read."""
    plain = fitted(tmp_path / "plain", None, epochs=3)[0]["state_dict"]
    fitted(tmp_path / "part", None, epochs=2)
    held, _ = fitted(tmp_path / "rest", WiseFT(0.25), epochs=3, resumed=tmp_path / "part")
    before = heads().retriever.image_head.weight.detach()
    torch.testing.assert_close(held["current_model_state"][HEAD], plain[HEAD])
    torch.testing.assert_close(held["state_dict"][HEAD], 0.75 * before + 0.25 * plain[HEAD])
