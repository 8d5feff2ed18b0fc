"""What the benchmarks encode: photos of a chosen size with a camera's grain, and captions."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from fashret.data.synthetic.captions import caption
from fashret.data.synthetic.draw import draw_views
from fashret.data.synthetic.garments import Product, make_products
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.options import RetrievalOptions
from fashret.functional.relevance import CodeRelevance
from fashret.functional.tiers import TierCodes
from fashret.functional.topk import Ranking
from fashret.tasks.base import NO_ROW, Search, Task
from fashret.types import UNKNOWN

_CHUNK = 65_536


def photos(count: int, size: tuple[int, int], seed: int = 7) -> list[bytes]:
    """The sample's garments enlarged to (width, height), each file with a grain of its own."""
    least = 48  # the sample's smallest catalog
    drawn = [draw_views(product, 1, seed)[0][0] for product in make_products(least, seed)]
    large = [
        np.asarray(Image.open(io.BytesIO(photo)).resize(size, Image.Resampling.LANCZOS), np.int16)
        for photo in drawn
    ]
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 6, (size[1] + 64, size[0] + 64, 3)).astype(np.int16)
    made = []
    for number in range(count):
        x, y = rng.integers(0, 64, 2)
        pixels = large[number % least] + grain[y : y + size[1], x : x + size[0]]
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def products(count: int, seed: int = 0) -> list[Product]:
    """The sample's products, at least as many as it needs."""
    return make_products(max(48, count), seed)[:count]


def captions(count: int, seed: int = 0) -> list[str]:
    """Captions as the sample has them, two of each product: many are equal."""
    rng = np.random.default_rng(seed)
    return [caption(product, rng) for product in products((count + 1) // 2) for _ in "ab"][:count]


def folder(root: Path, count: int, size: tuple[int, int]) -> Path:
    """A folder of photos with a table: `data=folder data.root=<it> data.table=items.csv`."""
    root.mkdir(parents=True)
    texts = captions(count)
    owners = [product for product in products((count + 1) // 2) for _ in "ab"][:count]
    with (root / "items.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "image", "text", "category", "product_id", "split"])
        rows = zip(photos(count, size), texts, owners, strict=True)
        for number, (photo, text, owner) in enumerate(rows):
            name = f"{number:06d}.jpg"
            (root / name).write_bytes(photo)
            table.writerow(
                [number, name, text, owner.garment.category, owner.product_id, owner.split]
            )
    return root


def overrides(root: Path, scratch: Path) -> list[str]:
    """What makes a command read such a folder and write nowhere else."""
    return [
        "data=folder",
        f"data.root={root}",
        "data.name=drawn",
        "data.table=items.csv",
        f"paths.cache_dir={scratch}/cache",
        f"paths.output_dir={scratch}/run",
    ]


def features(items: int, dim: int, seed: int = 0) -> Tensor:
    """(items, dim) unit vectors, two to a product, around its own; drawn in chunks."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.empty(items, dim)
    for start in range(0, items, _CHUNK):
        rows = min(_CHUNK, items - start)
        look = torch.randn((rows + 1) // 2, dim, generator=generator)
        look = look.repeat_interleave(2, dim=0)[:rows]
        made[start : start + rows] = normalize(
            look + 0.5 * torch.randn(rows, dim, generator=generator), dim=1
        )
    return made


def codes(items: int, seed: int = 0) -> TierCodes:
    """What is known of items, as a catalog of clothes has it: two to a product.

    Twelve categories of unlike size, five attributes of eight values of which a fifth are unknown,
    and captions of which one in ten is another product's.
    """
    rng = np.random.default_rng(seed)
    products = (items + 1) // 2
    shares = 1 / np.arange(1, 13)
    category = rng.choice(12, products, p=shares / shares.sum())
    attributes = rng.integers(0, 8, (products, 5))
    attributes[rng.random(attributes.shape) < 0.2] = UNKNOWN
    owner = np.repeat(np.arange(products), 2)[:items]
    caption = np.arange(items)
    shared = rng.random(items) < 0.1
    caption[shared] = rng.integers(0, items, shared.sum())
    return TierCodes(
        torch.from_numpy(category[owner]),
        torch.from_numpy(owner),
        torch.from_numpy(caption),
        torch.from_numpy(attributes[owner]),
        medium=[0],
        weak=[1, 2, 3],
    )


def evaluation(
    ranking: Ranking, of_query: Tensor, of_item: Tensor, metrics: Sequence[str]
) -> Evaluation:
    """Evaluate the ranking of Q queries over N items of which those of an equal code are relevant.

    Args:
        ranking: (Q, K) gallery positions and scores.
        of_query: (Q,) long codes.
        of_item: (N,) long codes.
        metrics: such as hit@10.
    """
    groups = torch.full((len(of_query),), UNKNOWN)
    queries = np.full(len(of_query), NO_ROW)
    plan: Any = SimpleNamespace(  # an `evaluation.plan.Plan`
        options=RetrievalOptions(slice_metrics=()),
        split=None,
        prefix="test",
        searches={"all": Search("all", queries, np.arange(len(of_item)), groups)},
        tasks=[Task("all", "all", CodeRelevance(of_query, of_item), metrics, metrics)],
    )
    return Evaluation.from_rankings(plan, {"all": ranking})
