"""Encoding and unfrozen training of ViT-B-32 on a GPU, against open_clip's own trainer.

    python benchmarks/unfrozen_gpu.py [--peak TFLOPS] [--batch 256]
    python benchmarks/unfrozen_gpu.py --device cpu --tiny    # does the code run

NOT YET RUN on a GPU: without one it says so and ends.

Both sides have the same weights (random), the same photos and captions, already decoded and
tokenised, in the same batches from the host's memory. Encoding is in the precision of a catalog,
float32. Training is ours by Lightning (bf16-mixed on a GPU), theirs by
`open_clip_train.train.train_one_epoch` (amp_bf16): all parameters, AdamW, clipping at 1. Embeddings
and the first loss must agree. Items per second are given, and the share of the GPU's peak: counted
operations of an item times items per second over the peak. Ours leaves out what follows a caption's
end, so it has fewer operations to do; the share is of those that were done.
"""

import math
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import drawn
import open_clip
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Ratio, Row, alternate, benchmark
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fashret.config import build, config_dir
from fashret.engine.module import RetrievalModule
from fashret.engine.schedules import constant
from fashret.functional.relations import pair_relations
from fashret.losses import AttributeBlocks, InfoNCE
from fashret.miners import NoMiner
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from fashret.types import Batch

PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165, "A10G": 70}
"""Dense bf16 TFLOP/s by a part of the device's name."""

RATE = 1e-6
"""Of learning: what the weights become is of no interest."""


class Batches:
    """The same photos and captions for both trainers, in the host's memory."""

    def __init__(self, batch: int, steps: int, side: int, tokens: Tensor, pinned: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch, 3, side, side, generator=generator)
        self.tokens = tokens
        if pinned:
            self.images, self.tokens = self.images.pin_memory(), self.tokens.pin_memory()
        self.steps = self.num_batches = steps
        self.num_samples = steps * batch

    def __len__(self) -> int:
        return self.steps


class Ours(Batches):
    """As our module takes them: every item its own product and caption."""

    def batch(self) -> Batch:
        rows = torch.arange(len(self.images))
        return Batch(index=rows, product=rows, caption=rows, images=self.images, tokens=self.tokens)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch() for _ in range(self.steps))


class Theirs(Batches):
    """As open_clip's trainer takes them."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.images, self.tokens) for _ in range(self.steps))


class Bench:
    """Two equal models on a device, and batches for them."""

    def __init__(self, device: str, tiny: bool, batch: int, steps: int) -> None:
        self.device, self.batch = torch.device(device), batch
        self.gpu = self.device.type == "cuda"
        model = "model=tiny" if tiny else "model=vitb32"
        with initialize_config_dir(config_dir(), version_base="1.3"):
            chosen = [model, "model.pretrained=null", "model.train=all", "paths.output_dir=."]
            cfg = compose("train", overrides=chosen)
        spec = build(cfg.model)
        self.retriever = Retriever.from_backbone(load_backbone(spec, Path("unused"))).to(
            self.device
        )
        self.retriever.set_training(spec)
        other = Retriever.from_backbone(load_backbone(spec, Path("unused")))
        assert self.retriever.backbone is not None
        assert other.backbone is not None
        self.whole = other.backbone.fold(other.image_head, other.text_head).to(self.device)
        self.whole.requires_grad_(True)
        self.whole.output_dict = True
        size = self.retriever.backbone.preprocess.size
        side = size if isinstance(size, int) else max(size)
        texts = sorted(set(drawn.captions(8 * batch)))[:batch]
        tokens = self.retriever.backbone.tokenize(texts)
        assert len(tokens) == batch, "not enough captions"
        self.ours = Ours(batch, steps, side, tokens, self.gpu)
        self.theirs = Theirs(batch, steps, side, tokens, self.gpu)

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def on_device(self) -> tuple[Tensor, Tensor]:
        return self.ours.images.to(self.device), self.ours.tokens.to(self.device)

    def encode(self, steps: int) -> Callable[[], tuple[Tensor, Tensor]]:
        """Ours: features and embeddings of every batch."""
        has_text = torch.ones(self.batch, dtype=torch.bool, device=self.device)

        @torch.inference_mode()
        def work() -> tuple[Tensor, Tensor]:
            self.retriever.eval()
            towers = self.retriever.backbone
            assert towers is not None
            for _ in range(steps):
                images, tokens = self.on_device()
                image = self.retriever.embed_image(towers.encode_image(images))
                text = self.retriever.embed_text(towers.encode_text(tokens), has_text)
            self.wait()
            return image, text

        return work

    def encode_whole(self, steps: int) -> Callable[[], tuple[Tensor, Tensor]]:
        """open_clip's."""

        @torch.inference_mode()
        def work() -> tuple[Tensor, Tensor]:
            self.whole.eval()
            for _ in range(steps):
                images, tokens = self.on_device()
                image = self.whole.encode_image(images, normalize=True)
                text = self.whole.encode_text(tokens, normalize=True)
            self.wait()
            return image, text

        return work

    def losses(self) -> tuple[float, float]:
        """Of the first batch, ours and theirs."""
        batch = self.ours.batch()
        images, tokens = self.on_device()
        with torch.no_grad():
            self.whole.eval()
            image, text = (
                self.whole.encode_image(images, True),
                self.whole.encode_text(tokens, True),
            )
            mine = InfoNCE().to(self.device)
            self.retriever.eval()
            moved = {name: value.to(self.device) for name, value in batch.items()}
            found = self.retriever(moved)
            relations = pair_relations(moved, moved)
            theirs = open_clip.ClipLoss()(image, text, mine.log_scale.exp())
            return float(mine(*found, relations)), float(theirs)

    def train(self) -> float:
        """Seconds of an epoch of ours, Lightning's own start left out."""
        module = RetrievalModule(
            retriever=self.retriever.train(),
            loss=InfoNCE(),
            miner=NoMiner(),
            block_loss=AttributeBlocks(),
            optimizer=lambda groups: torch.optim.AdamW(groups, lr=RATE),
            scheduler=constant,
            config={},
        )
        clock = Clock(self.wait)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="gpu" if self.gpu else "cpu",
            devices=1,
            precision="bf16-mixed" if self.gpu else "32-true",
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            use_distributed_sampler=False,
        )
        trainer.fit(module, self.ours)
        self.retriever.to(self.device)
        return clock.seconds

    def train_whole(self) -> float:
        """Seconds of an epoch of open_clip's trainer."""
        from open_clip_train.train import train_one_epoch

        learning = list(self.whole.parameters())
        optimizer = torch.optim.AdamW(learning, lr=RATE)
        arguments = SimpleNamespace(
            device=str(self.device),
            precision="amp_bf16" if self.gpu else "fp32",
            distill=False,
            accum_freq=1,
            skip_scheduler=True,
            grad_clip_norm=1.0,
            horovod=False,
            distributed=False,
            rank=0,
            local_rank=0,
            log_local=False,
            log_every_n_steps=2**30,
            batch_size=self.batch,
            world_size=1,
            wandb=False,
        )
        data = {"train": SimpleNamespace(dataloader=self.theirs, set_epoch=lambda epoch: None)}
        self.wait()
        start = time.perf_counter()
        train_one_epoch(
            self.whole, data, open_clip.ClipLoss(), 0, optimizer, None, None, None, arguments
        )
        self.wait()
        return time.perf_counter() - start

    def operations(self) -> tuple[float, float]:
        """Floating point operations of an item's forward and backward pass, ours and theirs."""
        images, tokens = self.on_device()
        towers = self.retriever.train().backbone
        assert towers is not None
        passes: list[Callable[[], Any]] = [
            lambda: towers.encode_image(images).sum() + towers.encode_text(tokens).sum(),
            lambda: self.whole.encode_image(images).sum() + self.whole.encode_text(tokens).sum(),
        ]
        found = []
        for forward in passes:
            with FlopCounterMode(display=False) as counter:
                forward().backward()
            found.append(counter.get_total_flops() / self.batch)
        for parameter in (*self.retriever.parameters(), *self.whole.parameters()):
            parameter.grad = None
        return found[0], found[1]


class Clock(pl.Callback):
    """Times the one epoch."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait
        self.seconds = math.nan

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.wait()
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.wait()
        self.seconds = time.perf_counter() - self.start


def peak(given: float | None) -> float | None:
    """FLOP/s of the GPU."""
    if given is not None:
        return 1e12 * given
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((1e12 * value for part, value in PEAKS.items() if part in name), None)


def share(operations: float, items: float, most: float | None) -> str:
    """The share of the peak as words."""
    if most is None:
        return f"{operations / 1e9:.1f} GFLOP an item, peak not known"
    return f"{operations / 1e9:.1f} GFLOP an item, {operations * items / most:.1%} of the peak"


def rows(options: Options) -> Iterator[Row]:
    given = options.more
    device = given.device or ("cuda" if torch.cuda.is_available() else None)
    if device is None:
        for what in ("encoding ViT-B-32", "unfrozen training of ViT-B-32"):
            yield Row(what, "open_clip", note="not yet run: needs a GPU")
        return
    small = given.tiny or options.quick
    batch, steps = (16, 3) if small else (given.batch, 30)
    bench = Bench(device, given.tiny, batch, steps)
    name = "tiny" if given.tiny else "ViT-B-32"
    most, items = peak(given.peak), batch * steps

    mine, theirs = bench.losses()
    assert abs(mine - theirs) < 1e-3, f"losses of the first batch: {mine} and {theirs}"
    ratio = alternate(bench.encode(steps), bench.encode_whole(steps), options.repeats)
    for found, other in zip(*ratio.found, strict=True):
        assert float((found * other).sum(dim=1).min()) > 0.9999, "embeddings differ"
    pace = f"{items / ratio.ours:.0f} against {items / ratio.theirs:.0f} items/s"
    yield Row.of(f"encoding {items:,} items, {name}, {device}", "open_clip", ratio, note=pace)

    if find_spec("open_clip_train") is None:
        yield Row("unfrozen training", "open_clip's trainer", note="not installed")
        return
    operations = bench.operations()
    taken = [(bench.train(), bench.train_whole()) for _ in range(options.repeats + 1)][1:]
    ratio = Ratio.of([a for a, _ in taken], [b for _, b in taken])
    speeds = items / ratio.ours, items / ratio.theirs
    said = [share(done, speed, most) for done, speed in zip(operations, speeds, strict=True)]
    note = f"ours {speeds[0]:.0f} items/s, {said[0]}; theirs {speeds[1]:.0f} items/s, {said[1]}"
    what = f"unfrozen training on {items:,} items, {name}, {device}"
    yield Row.of(what, "open_clip's trainer", ratio, note=note)


if __name__ == "__main__":
    benchmark(
        rows,
        __doc__,
        ("--device", {"help": "cuda by default"}),
        ("--tiny", {"action": "store_true", "help": "the tiny model and a few steps"}),
        ("--batch", {"type": int, "default": 256}),
        ("--peak", {"type": float, "help": "TFLOP/s of the GPU in bf16"}),
    )
