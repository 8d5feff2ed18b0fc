"""Adapters: they begin as nothing, learn alone and merge exactly."""

from pathlib import Path

import pytest
import torch

from fashret.models.adapters import adapter_parameters, merge_adapters
from support.architectures import FAMILIES
from support.commands import Run
from support.towers import batch_of, gradients, towers

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_begin_as_nothing_learn_alone_and_merge_exactly(
    family: str, tmp_path: Path
) -> None:
    plain, adapted = towers(family, tmp_path).eval(), towers(family, tmp_path, train="lora").eval()
    assert adapted.backbone is not None
    batch = batch_of(adapted.backbone, 4)
    with torch.inference_mode():
        for before, begun in zip(plain(batch), adapted(batch), strict=True):
            assert torch.allclose(before, begun, atol=1e-6)
    learning = [n for n, p in adapted.named_parameters() if p.requires_grad]
    held = list(adapter_parameters(adapted.backbone))
    assert {n for n in learning if "lora_" not in n} == {
        f"{head}.{part}"
        for head in ("image_head", "text_head")
        for part, _ in getattr(adapted, head).named_parameters()
    }
    assert len(held) == sum("lora_" in n for n in learning) >= 8
    assert any("visual" in n for n in learning)
    assert any("visual" not in n and "lora_" in n for n in learning)
    assert set(adapted.learned_state()) == set(learning)
    gradient = gradients(adapted.train())
    assert {n for n in learning if "lora_" in n} <= gradient.keys()  # none is dead
    with torch.no_grad():
        for parameter in held:
            parameter.add_(torch.randn_like(parameter) * 0.02)
    adapted.eval()
    with torch.inference_mode():
        moved = adapted(batch)
        assert not torch.allclose(moved[0], plain(batch)[0], atol=1e-4)
        merge_adapters(adapted.backbone)
        assert not list(adapter_parameters(adapted.backbone))
        for apart, merged in zip(moved, adapted(batch), strict=True):
            assert torch.allclose(apart, merged, atol=1e-5)
    assert adapted.state_dict().keys() == plain.state_dict().keys()


def test_a_run_of_adapters_is_kept_judged_and_exported(run: Run) -> None:
    folder = run(
        "train",
        "model.train=lora",
        "model.lora_rank=2",
        "trainer.max_epochs=1",
        "optimizer.lr=1e-3",
        "catalog.dtype=float32",
    )
    held = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert sum("lora_" in name for name in held) > 20
    assert sum(value.numel() for value in held.values()) < 200_000  # of 4 million
    judged = run("evaluate", f"run={folder}", folder="judged", small=False)
    assert (judged / "metrics.json").is_file()
    import open_clip

    run("export", f"run={folder}", f"out={run.at('bundle')}", "half=false", small=False)
    clip = open_clip.create_model(f"local-dir:{run.at('bundle')}").eval()
    assert not any("lora" in name for name in clip.state_dict())
