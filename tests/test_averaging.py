import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fashret.engine.callbacks import PowerEMA


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


def test_a_run_ends_with_the_mean_of_its_steps_by_their_powers() -> None:
    module, steps = Climbing(), 12
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[PowerEMA(gamma=3.0)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(steps // 2, 1))))
    shares = [(i**4 - (i - 1) ** 4) / steps**4 for i in range(1, steps + 1)]
    expected = sum(share * step for step, share in enumerate(shares, start=1))
    assert module.mask.tolist() == [[0.0, -torch.inf], [0.0, 0.0]]
    torch.testing.assert_close(module.weight.item(), expected, rtol=1e-6, atol=0.0)
