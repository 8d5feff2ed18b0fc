"""Towers that learn: adapters, less memory, steps by depth, and ways not to forget."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import FAMILIES, spec
from conftest import Run
from torch import Tensor
from torch.nn.functional import normalize

from fashret.engine.callbacks import WiseFT
from fashret.engine.layerwise import LayerwiseAdamW
from fashret.errors import ConfigError
from fashret.losses import Distillation, InfoNCE
from fashret.models.adapters import adapter_parameters, merge_adapters
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.retriever import Retriever
from fashret.types import Batch, Relations, TrainingItems

pytestmark = pytest.mark.usefixtures("stand_ins")

CAPTIONS = ["a dress", "a red dress with a round neck and long sleeves", "shoes", "a bag", "a hat"]


def towers(family: str, tmp_path: Path, **changes: Any) -> Retriever:
    given = spec(f"stand-in-{family}", **changes)
    retriever = Retriever.on(load_backbone(given, tmp_path))
    retriever.set_training(given)
    return retriever.train()


def batch_of(backbone: Backbone, items: int = 10) -> Batch:
    size = backbone.preprocess.size
    side = size if isinstance(size, int) else size[0]
    drawn = torch.Generator().manual_seed(1)
    return Batch(
        index=torch.arange(items),
        product=torch.arange(items),
        caption=torch.arange(items),
        images=torch.randn(items, 3, side, side, generator=drawn),
        tokens=backbone.tokenize([f"{CAPTIONS[i % 5]} {i}" for i in range(items)]),
    )


def gradients(retriever: Retriever) -> dict[str, Tensor]:
    """Of one InfoNCE step over ten items."""
    assert retriever.backbone is not None
    images, texts = retriever(batch_of(retriever.backbone))
    own = torch.eye(10, dtype=torch.bool)
    InfoNCE()(images, texts, Relations(own, ~own)).backward()
    return {n: p.grad for n, p in retriever.named_parameters() if p.grad is not None}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 10
    for name, value in left.items():
        assert torch.allclose(value, right[name], atol=1e-5), name


@pytest.mark.parametrize("family", ["vit", "sigmoid", "convnext", "coca"])
def test_chunks_give_the_gradient_of_the_whole_batch(family: str, tmp_path: Path) -> None:
    whole = gradients(towers(family, tmp_path))
    same(gradients(towers(family, tmp_path, chunk=3)), whole)  # 3 + 3 + 3 + 1
    same(gradients(towers(family, tmp_path, chunk=64)), whole)


def test_chunks_hold_fewer_activations(tmp_path: Path) -> None:
    """What autograd keeps between forward and backward: with chunks of 2, the inputs."""

    def kept(retriever: Retriever) -> int:
        assert retriever.backbone is not None
        seen: dict[int, int] = {}

        def pack(value: Tensor) -> Tensor:
            seen[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            retriever.features(batch_of(retriever.backbone))
        return sum(seen.values())

    assert kept(towers("vit", tmp_path, chunk=2)) < kept(towers("vit", tmp_path)) / 5


def test_chunks_of_a_batch_that_is_normalised_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.chunk=4: batch normalisation looks at the whole"):
        towers("resnet", tmp_path, chunk=4)
    towers("resnet", tmp_path, chunk=4, train="lora")  # whose norms are frozen


@pytest.mark.parametrize("family", ["vit", "convnext", "coca"])
def test_checkpointed_activations_give_the_same_gradient(family: str, tmp_path: Path) -> None:
    same(
        gradients(towers(family, tmp_path, checkpointing=True)), gradients(towers(family, tmp_path))
    )


def test_a_tower_that_cannot_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch normalisation that learns would count every"):
        towers("resnet", tmp_path, checkpointing=True)
    with pytest.raises(ConfigError, match=r"model.checkpointing=true: the image tower \(ModifiedR"):
        towers("resnet", tmp_path, checkpointing=True, train="lora")


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
    before = Retriever.on(load_backbone(given, run.cache_dir)).image_head.weight
    expected = (1 - alpha) * before + alpha * after[name]
    assert torch.allclose(state(mixed, "state_dict")[name], expected, atol=1e-7)
    assert not torch.allclose(after[name], before, atol=1e-4)


def test_depths_are_counted_in_each_tower(tmp_path: Path) -> None:
    """Tiny's image tower has four stages, its text tower two blocks."""
    given = spec("fashret-tiny", pretrained="fashion")
    depths = load_backbone(given, tmp_path).depths()
    assert depths["clip.visual.conv1.weight"] == 5
    assert depths["clip.visual.layer1.0.conv1.weight"] == 4
    assert depths["clip.text.transformer.resblocks.0.ln_1.weight"] == 2
    assert depths["clip.text.token_embedding.weight"] == 3


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


def test_a_mix_beyond_the_line_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha=1\.5 of WiseFT must be between 0 and 1"):
        WiseFT(alpha=1.5)


class Before:
    """The untrained model's catalog of six items."""

    def __init__(self) -> None:
        drawn = torch.Generator().manual_seed(4)
        self.image = normalize(torch.randn(6, 8, generator=drawn), dim=1)
        self.text = normalize(torch.randn(6, 8, generator=drawn), dim=1)


def distilled(images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
    loss = Distillation(weight=2.0, temperature=0.5)
    nothing = torch.arange(6)
    loss.prepare(TrainingItems(nothing, nothing, nothing, {}, []), Before())
    value: Tensor = loss(images, texts, batch)
    return value


def test_distillation_is_zero_where_nothing_moved() -> None:
    rows = torch.tensor([4, 0, 2])
    teacher = Before()
    batch = Batch(index=rows, caption=torch.tensor([1, 2, 3]))
    assert float(distilled(teacher.image[rows], teacher.text[rows], batch)) == pytest.approx(
        0, abs=1e-7
    )
    turned = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    # A rotation of the whole space moves every embedding and no neighbour.
    still = distilled(teacher.image[rows] @ turned, teacher.text[rows] @ turned, batch)
    assert float(still) == pytest.approx(0, abs=1e-6)


def test_distillation_equals_a_loop() -> None:
    drawn = torch.Generator().manual_seed(5)
    images, texts = (normalize(torch.randn(4, 8, generator=drawn), dim=1) for _ in range(2))
    rows = torch.tensor([4, 0, 2, 5])
    teacher = Before()
    kept = [0, 1, 3]  # the third has no caption
    total = 0.0
    for direction in range(2):
        for i in kept:
            was, now = [], []
            for j in kept:
                photo, word = (i, j) if direction == 0 else (j, i)
                was.append(float(teacher.image[rows[photo]] @ teacher.text[rows[word]]) / 0.5)
                now.append(float(images[photo] @ texts[word]) / 0.5)
            p = [math.exp(s) / sum(map(math.exp, was)) for s in was]
            q = [math.exp(s) / sum(map(math.exp, now)) for s in now]
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    batch = Batch(index=rows, caption=torch.tensor([1, 2, -1, 3]))
    expected = 2.0 * 0.5**2 * total / (2 * 3)
    assert float(distilled(images, texts, batch)) == pytest.approx(expected, rel=1e-5)


def test_distillation_leaves_out_made_captions_and_survives_none() -> None:
    images, texts = (torch.eye(8)[:2].clone().requires_grad_() for _ in range(2))
    batch = Batch(
        index=torch.tensor([1, 3]), caption=torch.tensor([1, 2]), stated=torch.tensor([1, 2])
    )
    value = distilled(images, texts, batch)
    value.backward()
    assert float(value) == 0.0
    assert images.grad is not None
