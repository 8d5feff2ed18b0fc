"""Learning rates by depth."""

from pathlib import Path

import pytest
import torch

from fashret.engine.layerwise import LayerwiseAdamW
from fashret.errors import ConfigError
from fashret.models.backbone import load_backbone
from support.architectures import spec
from support.commands import Run
from support.towers import towers

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_steps_shrink_from_the_heads_down(tmp_path: Path) -> None:
    """The stand-in has two blocks a tower: depths 0 (heads, last norm), 1, 2 and 3."""
    retriever = towers("vit", tmp_path)
    assert retriever.backbone is not None
    depths = retriever.backbone.depths()
    of = {name.removeprefix("clip."): depth for name, depth in depths.items()}
    assert of["visual.ln_post.weight"] == of["ln_final.bias"] == 0
    assert of["visual.transformer.resblocks.1.mlp.c_fc.weight"] == 1
    assert of["transformer.resblocks.0.attn.in_proj_weight"] == 2
    assert of["visual.conv1.weight"] == of["token_embedding.weight"] == 3
    assert of["positional_embedding"] == of["visual.class_embedding"] == 3
    assert set(of.values()) == {0, 1, 2, 3}
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "depth": depth} for depth in (0, 2)]
    optimizer = LayerwiseAdamW(groups, 1e-3, 0.5, (0.9, 0.98), 1e-6, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 0.25e-3]
    with pytest.raises(ConfigError, match=r"optimizer.layer_decay=1.5: it must be in \(0, 1\]"):
        LayerwiseAdamW(groups, 1e-3, 1.5, (0.9, 0.98), 1e-6, 0.1)


def test_a_run_gives_each_depth_its_step(run: Run) -> None:
    options = ("trainer.max_steps=1", "scheduler=constant", "trainer.max_epochs=1")
    layerwise = ("optimizer=layerwise", "optimizer.lr=1e-4", "optimizer.layer_decay=0.5")
    folder = run("train", "model.train=all", *options, *layerwise)
    held = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    rates = {g["depth"]: g["lr"] for g in held["optimizer_states"][0]["param_groups"]}
    # tiny's image tower has four stages, its text tower two blocks
    assert rates == {depth: pytest.approx(1e-4 * 0.5**depth) for depth in range(6)}


def test_depths_are_counted_in_each_tower(tmp_path: Path) -> None:
    """Tiny's image tower has four stages, its text tower two blocks."""
    given = spec("fashret-tiny", pretrained="fashion")
    depths = load_backbone(given, tmp_path).depths()
    assert depths["clip.visual.conv1.weight"] == 5
    assert depths["clip.visual.layer1.0.conv1.weight"] == 4
    assert depths["clip.text.transformer.resblocks.0.ln_1.weight"] == 2
    assert depths["clip.text.token_embedding.weight"] == 3


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.0001])
def test_a_decay_out_of_its_range_is_refused(decay: float) -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "depth": 1}]
    with pytest.raises(ConfigError, match=rf"optimizer.layer_decay={decay}: it must be in"):
        LayerwiseAdamW(groups, 1e-3, decay, (0.9, 0.98), 1e-6, 0.1)


def test_the_options_of_adamw_are_its_own_and_a_group_may_have_others() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    bias = torch.nn.Parameter(torch.ones(1))
    groups = [
        {"params": [weight], "depth": 3}, {"params": [bias], "depth": 1, "weight_decay": 0.0},
    ]  # fmt: skip
    optimizer = LayerwiseAdamW(groups, 0.5, 1.0, (0.8, 0.95), 1e-5, 0.1)
    first, second = optimizer.param_groups
    assert (first["lr"], first["betas"], first["eps"]) == (0.5, (0.8, 0.95), 1e-5)
    assert (first["weight_decay"], second["weight_decay"]) == (0.1, 0.0)
    assert optimizer.defaults["lr"] == 0.5
    assert "lr" not in groups[0]  # what was given is not changed
