"""A frozen epoch against a bare torch loop over the same tensors, and against encoding anew.

    python benchmarks/frozen_epoch.py

The first two train two linear heads by InfoNCE, batch 1,024, on 20,000 items of 512-dimensional
features. The bare loop has no masks, no logging and no framework: cross entropy over the whole
batch. Epochs alternate, so that a machine whose speed drifts drifts for both.

The usual way encodes every photo and caption again in every epoch. That is estimated, for an item:
decoding and the towers' forward pass, measured on a few hundred photos of 480 x 640, and the same
step of the heads.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import drawn
import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Ratio, Row, benchmark
from torch.nn.functional import cross_entropy, normalize

from fashret.config import build, config_dir
from fashret.data.photos import decode_photo
from fashret.engine.module import RetrievalModule
from fashret.engine.schedules import constant
from fashret.loading.batches import FeatureDataset, FeatureLoader
from fashret.loading.samplers import ShuffledSampler
from fashret.loading.task_batches import TaskDataset, TaskSampler
from fashret.losses import AttributeBlocks, InfoNCE
from fashret.miners import NoMiner
from fashret.models.backbone import load_backbone
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever

DIM, BATCH = 512, 1024


class Codes:
    """Every item its own product and caption."""

    def batch(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"index": rows, "product": rows, "caption": rows}


def bare_epoch(
    images: torch.Tensor,
    texts: torch.Tensor,
    heads: list[torch.nn.Linear],
    scale: torch.nn.Parameter,
    optimizer: torch.optim.Optimizer,
) -> float:
    start = time.perf_counter()
    order = torch.randperm(len(images))
    labels = torch.arange(BATCH)
    for step in range(len(images) // BATCH):
        rows = order[step * BATCH : (step + 1) * BATCH]
        image = normalize(heads[0](images[rows]), dim=1)
        text = normalize(heads[1](texts[rows]), dim=1)
        logits = image @ text.T * scale.exp()
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [p for g in optimizer.param_groups for p in g["params"]], 1.0
        )
        optimizer.step()
    return time.perf_counter() - start


class Clock(pl.Callback):
    """Runs a bare epoch after each of Lightning's, and times both."""

    def __init__(self, bare: Callable[[], float]) -> None:
        self.bare = bare
        self.times: list[tuple[float, float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ours = time.perf_counter() - self.start
        self.times.append((ours, self.bare()))


def config(*overrides: str) -> object:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", overrides=["paths.output_dir=.", *overrides])


def epochs(items: int, turns: int) -> list[tuple[float, float]]:
    """Seconds of ours and of a bare epoch, turn by turn."""
    torch.manual_seed(0)
    images, texts = torch.randn(items, DIM), torch.randn(items, DIM)
    heads = [torch.nn.Linear(DIM, DIM, bias=False) for _ in range(2)]
    scale = torch.nn.Parameter(torch.tensor(2.66))
    parameters = [*heads[0].parameters(), *heads[1].parameters(), scale]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    retriever = Retriever(*(Projection(torch.randn(DIM, DIM) / DIM**0.5, None) for _ in range(2)))
    retriever.set_training(build(config().model))
    batches = ShuffledSampler(np.arange(items), batch_size=BATCH, seed=0)
    dataset = TaskDataset({"caption": FeatureDataset(Codes(), images, texts)})
    loader = FeatureLoader(dataset, TaskSampler({"caption": batches}))
    module = RetrievalModule(
        retriever=retriever.train(),
        loss=InfoNCE(),
        miner=NoMiner(),
        block_loss=AttributeBlocks(),
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3),
        scheduler=constant,
        config={},
    )
    clock = Clock(lambda: bare_epoch(images, texts, heads, scale, optimizer))
    trainer = pl.Trainer(
        max_epochs=turns + 1,
        accelerator="cpu",
        devices=1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, loader)
    return clock.times[1:]


def encoding(*overrides: str, count: int, turns: int) -> list[float]:
    """Seconds of an item's decoding and forward pass, turn by turn."""
    backbone = load_backbone(build(config(*overrides).model), Path("unused")).eval()
    encoded = drawn.photos(count, (480, 640))
    tokens = backbone.tokenize(drawn.captions(count))
    transform = backbone.photo_transform()
    taken = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        with torch.inference_mode():
            for place in range(0, count, 256):
                photos = [
                    transform(decode_photo(photo, min_side=backbone.min_side))
                    for photo in encoded[place : place + 256]
                ]
                backbone.encode_image(torch.stack(photos))
                backbone.encode_text(tokens[place : place + 256])
        taken.append((time.perf_counter() - start) / count)
    return taken[1:]


def rows(options: Options) -> Iterator[Row]:
    items = 5 * BATCH if options.quick else 20_000
    turns = 2 if options.quick else 8
    times = epochs(items, turns)
    ratio = Ratio.of([ours for ours, _ in times], [bare for _, bare in times])
    yield Row.of(f"frozen epoch of {items:,} items", "bare torch loop", ratio, bound=1.1)
    item = [ours / items for ours, _ in times]
    vit = "model=vitb32", "model.pretrained=null"
    for name, overrides, count in (("tiny", (), 512), ("ViT-B-32", vit, 64)):
        count = count // 8 if options.quick else count
        taken = encoding(*overrides, count=count, turns=min(turns, 3))
        anew = [encoded + statistics.median(item) for encoded in taken]
        yield Row.of(
            f"an item of a frozen epoch, {name}",
            "encoding it in every epoch",
            Ratio.of([1e3 * statistics.median(item)] * len(anew), [1e3 * value for value in anew]),
            unit="ms",
            note=f"theirs estimated from {count} items encoded in one process",
        )


if __name__ == "__main__":
    benchmark(rows, __doc__)
