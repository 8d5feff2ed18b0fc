"""The model's size."""

from typing import Any

import torch
from pytorch_lightning import LightningModule

from fashret.engine.callbacks.parameter_summary import parameter_summary


def test_the_summary_counts_what_learns() -> None:
    """A linear layer of 100 x 50 learns (5,000), its bias and another of 50 x 20 do not."""
    module: Any = LightningModule()
    module.retriever = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.Linear(50, 20))
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name.endswith("0.weight")
    # 5,000 + 50 + 1,000 + 20 = 6,070 parameters of 4 bytes
    assert parameter_summary(module) == "model: 5.0 K of 6.1 K parameters are trainable, 0.0 MB"
