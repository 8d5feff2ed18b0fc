"""Seconds and memory of what happens to 40,000 items between encoding and training.

python benchmarks/attributes.py

Captions of the drawn sample's garments, two of each product, and random embeddings of 512
dimensions around a product's own: reading attributes from texts, joining products by title,
mining hard negatives, drawing 50,000 pairs.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch.nn.functional import normalize

from fashret.config import build, config_dir
from fashret.data.attributes import Schema
from fashret.data.groups import Grouping
from fashret.data.sample.captions import caption
from fashret.data.sample.garments import make_products
from fashret.functional.mining import hard_negatives
from fashret.functional.pairing import draw_pairs
from fashret.functional.tiers import TIERS, TierCodes

ITEMS, VIEWS, DIM, PAIRS = 40_000, 2, 512, 50_000
ATTRIBUTES = ("material", "pattern", "neckline", "sleeve", "colour")


@contextmanager
def timed(what: str, total: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    total.append(time.perf_counter() - start)
    print(f"{what:<34}{total[-1]:6.1f} s")


def codes(values: list[str | None]) -> torch.Tensor:
    known = sorted({value for value in values if value is not None})
    place = {value: code for code, value in enumerate(known)}
    return torch.tensor([-1 if value is None else place[value] for value in values])


def main() -> None:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides=["miner=pairs", "paths.output_dir=."])
    schema: Schema = build(cfg.data.schema)
    grouping: Grouping = build(cfg.data.groups)
    rng = np.random.default_rng(0)
    products = make_products(ITEMS // VIEWS, seed=0)
    texts = [caption(product, rng) for product in products for _ in range(VIEWS)]
    category = [product.garment.category for product in products for _ in range(VIEWS)]
    generator = torch.Generator().manual_seed(0)
    look = torch.randn(ITEMS // VIEWS, DIM, generator=generator).repeat_interleave(VIEWS, dim=0)
    images = normalize(look + 0.5 * torch.randn(ITEMS, DIM, generator=generator), dim=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    total: list[float] = []
    with timed("attributes from texts", total):
        read = [schema.read(text, kind) for text, kind in zip(texts, category, strict=True)]
    with timed("products by title", total):
        product, _ = grouping.by_title(texts, images, torch.arange(ITEMS) // VIEWS)
    attributes = torch.stack([codes([said.get(a) for said in read]) for a in ATTRIBUTES], dim=1)
    items = TierCodes(
        codes(list(category)), product, codes(list(texts)), attributes, [0], [1, 2, 3]
    )
    with timed("hard negatives", total):
        mined = hard_negatives(
            images,
            items.category,
            items.product,
            items.caption,
            items.attributes,
            depth=cfg.miner.depth,
            keep=cfg.miner.keep,
        )
    with timed("pairs", total):
        pairs = draw_pairs(items, mined, dict(cfg.miner.shares), count=PAIRS, rng=rng)
    made = dict(zip(TIERS, np.bincount(pairs.tier, minlength=5).tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{'together':<34}{sum(total):6.1f} s")
    print(f"{len(mined.anchor)} hard negatives, pairs: {made}")
    print(f"peak memory {peak / 2**20:.2f} GiB, of which {before / 2**20:.2f} GiB before")


if __name__ == "__main__":
    main()
