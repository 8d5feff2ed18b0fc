"""A mean of the weights of all steps."""

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fashret.engine.callbacks import PowerEMA
from fashret.errors import ConfigError
from support.commands import Run

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_a_mean_of_towers_is_resumed_exactly(run: Run) -> None:
    whole = ("callbacks=power_ema", "model.train=all", "trainer.max_epochs=2", "scheduler.epochs=2")
    unbroken = run("train", *whole)
    stopped = run("train", *whole, "trainer.max_epochs=1", folder="stopped")
    run("train", *whole, f"resume={stopped}", folder="stopped")
    held = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (unbroken, stopped)
    ]
    for state in ("state_dict", "current_model_state"):
        assert len(held[0][state]) > 60
        assert "retriever.backbone.clip.logit_scale" not in held[0][state]  # it did not learn
        for name, value in held[0][state].items():
            assert torch.equal(value, held[1][state][name]), (state, name)


def test_a_mean_of_adapters_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"callbacks.wise_ft with model.train=lora: "):
        run("train", "callbacks=wise_ft", "model.train=lora")
    with pytest.raises(ConfigError, match=r"callbacks.power_ema with trainer=fsdp: "):
        run("train", "callbacks=power_ema", "model.train=all", "trainer=fsdp")


class Climbing(pl.LightningModule):
    """One weight that is the number of steps taken."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1), persistent=False)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        return -self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.0, None])
def test_a_run_ends_with_the_mean_of_its_steps_by_their_powers(gamma: float | None) -> None:
    module, steps = Climbing(), 12
    callback = PowerEMA() if gamma is None else PowerEMA(gamma=gamma)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(steps // 2, 1))))
    power = 4.0 if gamma is None else gamma + 1.0
    shares = [(i**power - (i - 1) ** power) / steps**power for i in range(1, steps + 1)]
    expected = sum(share * step for step, share in enumerate(shares, start=1))
    assert module.mask.tolist() == [[0.0, -torch.inf], [0.0, 0.0]]
    torch.testing.assert_close(module.weight.item(), expected, rtol=1e-6, atol=0.0)


def test_a_window_that_shrinks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gamma=-0\.1 of PowerEMA must be at least 0"):
        PowerEMA(gamma=-0.1)
