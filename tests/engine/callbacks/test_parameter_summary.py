"""The model's size."""

from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning import LightningModule

from fashret.engine.callbacks.parameter_summary import ParameterSummary, parameter_summary
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever


def test_the_summary_counts_what_learns() -> None:
    """A linear layer of 100 x 50 learns (5,000), its bias and another of 50 x 20 do not."""
    module: Any = LightningModule()
    module.retriever = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.Linear(50, 20))
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name.endswith("0.weight")
    # 5,000 + 50 + 1,000 + 20 = 6,070 parameters of 4 bytes
    assert parameter_summary(module) == "model: 5.0 K of 6.1 K parameters are trainable, 0.0 MB"


def test_the_size_is_that_of_the_bytes_and_stored_towers_are_not_counted() -> None:
    module: Any = LightningModule()
    module.retriever = torch.nn.Linear(1000, 500, bias=False).double()
    # half a million parameters of 8 bytes
    assert parameter_summary(module) == "model: 500 K of 500 K parameters are trainable, 4.0 MB"
    image, text = Projection(torch.ones(400, 500), None), Projection(torch.ones(400, 1500), None)
    module.retriever = Retriever(image, text)
    module.retriever.text_head.weight.requires_grad_(False)
    assert parameter_summary(module) == (
        "model: 200 K of 800 K parameters are trainable, 3.2 MB "
        "(frozen towers not counted: their features are stored)"
    )
    towers: Any = torch.nn.Identity()
    module.retriever = Retriever(image, text, backbone=towers)
    assert "stored" not in parameter_summary(module)


def test_one_process_says_it_once() -> None:
    said: list[str] = []
    module: Any = LightningModule()
    module.retriever = torch.nn.Linear(2, 2)
    module.print = lambda text, flush: said.append(text)
    for zero in (True, False):
        trainer: Any = SimpleNamespace(is_global_zero=zero)
        ParameterSummary().on_fit_start(trainer, module)
    assert said == [parameter_summary(module)]
