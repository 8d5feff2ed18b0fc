"""Product to product on real photos: a run against a plain torch loop of the same training.

    python benchmarks/product_task.py --photos <folder with images/>

Three views (crop, tilt, mirror, light, blur) of each of 900 products, no texts, a quarter of the
products held out. The plain loop trains the whole tiny model by a supervised contrastive loss at
temperature 0.1, 64 products with 3 photos in a batch, AdamW 1e-3; a run of task=product does the
same. Both decode and augment their photos in the training process, since processes beside it would
make the two depend on how many cores are free. A step of the run may take 1.3 times as long.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure import Options, Ratio, Row, benchmark
from PIL import Image
from torch.nn.functional import log_softmax, normalize
from views import VIEWS, write_views

import fashret
from fashret.data.augment import Augment

EPOCHS, PRODUCTS = 6, 64


def plain_loop(table: pd.DataFrame, folder: Path, seed: int) -> tuple[float, float]:
    """Train and evaluate by hand: seconds of a step, and hit@1 of the held-out products."""
    torch.manual_seed(seed)
    model = fashret.load("tiny", device="cpu")
    towers = model.backbone
    assert towers is not None
    model.requires_grad_(True)
    model.train()
    learning = [*towers.clip.visual.parameters(), *model.image_head.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    transform, augment = towers.photo_transform(), Augment()
    train = table[table["split"] == "train"]
    groups = [group["image"].tolist() for _, group in train.groupby("product_id")]
    rng, steps, start = np.random.default_rng(seed), 0, time.perf_counter()
    for epoch in range(EPOCHS):
        order = rng.permutation(len(groups))
        for first in range(0, len(order) - PRODUCTS + 1, PRODUCTS):
            names = [n for i in order[first : first + PRODUCTS] for n in groups[i]]
            photos = [Image.open(folder / name).convert("RGB") for name in names]
            batch = torch.stack(
                [transform(augment(p, f"{epoch}-{n}")) for p, n in zip(photos, names, strict=True)]
            )
            embedded = normalize(model.image_head(towers.encode_image(batch)), dim=1)
            label = torch.arange(PRODUCTS).repeat_interleave(VIEWS)
            diagonal = torch.eye(len(label), dtype=torch.bool)
            logits = (embedded @ embedded.T / 0.1).masked_fill(diagonal, -1e9)
            positive = (label[:, None] == label[None, :]) & ~diagonal
            loss = -(log_softmax(logits, dim=1) * positive).sum(dim=1) / positive.sum(dim=1)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            steps += 1
    seconds = (time.perf_counter() - start) / steps
    model.eval()
    return seconds, hit(model, table[table["split"] == "test"], folder)


def hit(model: fashret.Retriever, table: pd.DataFrame, folder: Path) -> float:
    """How many photos find another photo of their product first, in percent."""
    embedded = torch.from_numpy(model.encode_image([folder / n for n in table["image"]]))
    scores = (embedded @ embedded.T).fill_diagonal_(-2.0)
    product = table["product_id"].to_numpy()
    return float(100 * (product[scores.argmax(dim=1).numpy()] == product).mean())


def run_of(table: Path, folder: Path, seed: int, scratch: Path, *more: str) -> tuple[float, float]:
    """Train by task=product: seconds of a step, and hit@1 of the held-out products."""
    os.environ["FASHRET_CACHE"] = str(scratch / "cache")
    result = fashret.train(
        "data=folder", f"data.root={table.parent}", f"data.table={table}", "task=product",
        "loss=supcon", "loss.temperature=0.1", "loss.learn_temperature=false", "model.train=all",
        "optimizer.lr=1e-3", "scheduler=constant", f"data.batch_size={PRODUCTS * VIEWS}",
        f"data.batch.photos={VIEWS}", f"trainer.max_epochs={EPOCHS}", f"seed={seed}",
        "data.num_workers=0", f"trainer.check_val_every_n_epoch={EPOCHS}", "device=cpu",
        "trainer.accelerator=cpu", "gallery=false", "latency=false", "logger=none",
        f"paths.output_dir={folder}", *more,
    )  # fmt: skip
    log = pd.read_json(folder / "train_log.jsonl", lines=True)
    seconds = PRODUCTS * VIEWS / float(log["train/items_per_s"].iloc[-1])
    frame = pd.read_csv(table, dtype=str)
    return seconds, hit(result.model, frame[frame["split"] == "test"], table.parent)


def rows(options: Options) -> Iterator[Row]:
    photos = options.photos
    if photos is None:
        yield Row("not run", note="needs real photos: --photos <folder>")
        return
    turns = 1 if options.quick else 3
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        table = write_views(photos, scratch / "views", 300 if options.quick else 900)
        frame = pd.read_csv(table, dtype=str)
        before = hit(
            fashret.load("tiny", device="cpu"), frame[frame["split"] == "test"], table.parent
        )
        ours, theirs = [], []
        for turn in range(turns):
            ours.append(run_of(table, scratch / f"run{turn}", turn, scratch))
            theirs.append(plain_loop(frame, table.parent, turn))
        ratio = Ratio.of([s for s, _ in ours], [s for s, _ in theirs])
        yield Row.of(
            "a step of task=product, 64 products x 3 photos",
            "plain torch loop",
            ratio,
            bound=1.3,
            note=(
                f"hit@1 of held-out products {before:.1f} before; "
                f"{np.mean([h for _, h in ours]):.1f} after {EPOCHS} epochs, "
                f"by the plain loop {np.mean([h for _, h in theirs]):.1f}"
            ),
        )


if __name__ == "__main__":
    benchmark(rows, __doc__)
