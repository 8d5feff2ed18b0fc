"""Seconds and memory of what happens to 40,000 items between encoding and training.

python benchmarks/attributes.py

Captions of the drawn sample's garments, two of each product, and random embeddings of 512
dimensions around a product's own: reading attributes from texts, joining products by title,
mining hard negatives, drawing 50,000 pairs. Once each, and together.
"""

import resource
import time
from collections.abc import Callable, Iterator

import drawn
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, benchmark

from fashret.config import build, config_dir
from fashret.data.attribute_parser import Schema
from fashret.data.product_grouping import Grouping
from fashret.functional.mining import hard_negatives
from fashret.functional.pairing import draw_pairs
from fashret.functional.tiers import TIERS, TierCodes

VIEWS, DIM = 2, 512
ATTRIBUTES = ("material", "pattern", "neckline", "sleeve", "colour")


def codes(values: list[str | None]) -> torch.Tensor:
    known = sorted({value for value in values if value is not None})
    place = {value: code for code, value in enumerate(known)}
    return torch.tensor([-1 if value is None else place[value] for value in values])


def rows(options: Options) -> Iterator[Row]:
    count, asked = (4000, 5000) if options.quick else (40_000, 50_000)
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides=["miner=pairs", "paths.output_dir=."])
    schema = Schema.from_config(cfg.data.schema)
    grouping: Grouping = build(cfg.data.groups)
    texts, owners = drawn.captions(count), drawn.products(count // VIEWS)
    category = [owner.garment.category for owner in owners for _ in range(VIEWS)]
    images = drawn.features(count, DIM)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made: list[Row] = []

    def timed(what: str, step: Callable[[], object]) -> object:
        start = time.perf_counter()
        found = step()
        made.append(Row(f"{what}, {count:,} items", ours=time.perf_counter() - start))
        return found

    read = timed(
        "attributes from texts",
        lambda: [schema.read(text, kind) for text, kind in zip(texts, category, strict=True)],
    )
    product, _ = timed(
        "products by title",
        lambda: grouping.join_by_title(texts, images, torch.arange(count) // VIEWS),
    )
    attributes = torch.stack([codes([said.get(a) for said in read]) for a in ATTRIBUTES], dim=1)
    items = TierCodes(
        codes(list(category)), product, codes(list(texts)), attributes, [0], [1, 2, 3]
    )
    mined = timed(
        "hard negatives",
        lambda: hard_negatives(
            images,
            items.category,
            items.product,
            items.caption,
            items.attributes,
            depth=cfg.miner.depth,
            keep=cfg.miner.keep,
        ),
    )
    rng = np.random.default_rng(0)
    pairs = timed(
        f"{asked:,} pairs",
        lambda: draw_pairs(items, mined, dict(cfg.miner.shares), count=asked, rng=rng),
    )
    yield from made
    tiers = np.bincount(pairs.tier, minlength=len(TIERS)).tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield Row(
        f"together, {count:,} items",
        ours=sum(row.ours or 0.0 for row in made),
        note=f"{len(mined.anchor):,} hard negatives; pairs: "
        + ", ".join(f"{number:,} {tier}" for tier, number in zip(TIERS, tiers, strict=True))
        + f"; peak {peak / 2**20:.2f} GiB, of which {before / 2**20:.2f} before",
    )


if __name__ == "__main__":
    benchmark(rows, __doc__)
