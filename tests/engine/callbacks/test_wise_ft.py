"""Weights between before and after."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fashret.engine.callbacks import WiseFT
from fashret.errors import ConfigError
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
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
