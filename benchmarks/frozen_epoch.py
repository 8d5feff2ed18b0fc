"""A frozen epoch against a bare torch loop over the same tensors, in one process.

python benchmarks/frozen_epoch.py

Both train two linear heads by InfoNCE, batch 1,024, on 20,000 items of 512-dimensional features.
The bare loop has no masks, no logging and no framework: cross entropy over the whole batch. Epochs
alternate, so that a machine whose speed drifts drifts for both.
"""

import argparse
import statistics
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.functional import cross_entropy, normalize

from fashret.data.batches import FeatureLoader
from fashret.data.samplers import ShuffledBatches
from fashret.engine.module import RetrievalModule
from fashret.engine.schedules import constant
from fashret.losses import InfoNCE
from fashret.miners import NoMiner
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec

ITEMS, DIM, BATCH = 20_000, 512, 1024


class Codes:
    """Every item its own product and caption."""

    def batch(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"index": rows, "product": rows, "caption": rows}


def bare_epoch(
    images: torch.Tensor,
    texts: torch.Tensor,
    heads: list[torch.nn.Linear],
    scale: torch.nn.Parameter,
    optimizer: Any,
) -> float:
    start = time.perf_counter()
    order = torch.randperm(ITEMS)
    labels = torch.arange(BATCH)
    for step in range(ITEMS // BATCH):
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

    def __init__(self, bare: Any) -> None:
        self.bare = bare
        self.times: list[tuple[float, float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ours = time.perf_counter() - self.start
        self.times.append((ours, self.bare()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    images, texts = torch.randn(ITEMS, DIM), torch.randn(ITEMS, DIM)
    heads = [torch.nn.Linear(DIM, DIM, bias=False) for _ in range(2)]
    scale = torch.nn.Parameter(torch.tensor(2.66))
    parameters = [*heads[0].parameters(), *heads[1].parameters(), scale]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    retriever = Retriever(*(Projection(torch.randn(DIM, DIM) / DIM**0.5, None) for _ in range(2)))
    retriever.set_training(
        ModelSpec(
            name="bench",
            pretrained=None,
            train="heads",
            train_blocks=1,
            heads=True,
            resize="longest",
            fill=255,
            seed=0,
        )
    )
    import numpy as np

    batches = ShuffledBatches(np.arange(ITEMS), batch_size=BATCH, seed=0)
    loader = FeatureLoader(Codes(), images, texts, batches)
    module = RetrievalModule(
        retriever.train(),
        InfoNCE(),
        NoMiner(),
        lambda groups: torch.optim.AdamW(groups, lr=1e-3),
        constant,
        {},
    )
    clock = Clock(lambda: bare_epoch(images, texts, heads, scale, optimizer))
    trainer = pl.Trainer(
        max_epochs=epochs + 1,
        accelerator="cpu",
        devices=1,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, loader)
    ratios = [ours / bare for ours, bare in clock.times[1:]]
    ours = statistics.median(o for o, _ in clock.times[1:])
    print(f"epoch of {ITEMS} items, batch {BATCH}, {DIM} dimensions: {ours:.2f} s")
    middle = statistics.median(ratios)
    print(f"against a bare loop: {middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
