"""What fused search finds where some items have no text.

    python benchmarks/missing_text.py <catalog folder> [--split test] [--missing 0.3]

Removes the texts of a random share of a split's items and searches it by photo and text. Prints how
often a query with a text finds another photo of its product among the first 10: items that kept
their text and items that lost it, by fused search with imputed texts, with similarity 0 in their
place, with all texts there, and by photo alone. The mean of five seeds.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fashret.catalog.folder import open_catalog
from fashret.functional.imputation import impute_texts
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import Excluded, topk

WEIGHT_IMAGE, K, SEEDS = 0.7, 10, 5


def found(queries: Vectors, items: Vectors, product: Tensor, wanted: Tensor) -> float:
    """The share of queries that find a wanted photo of their product, of those that have one.

    Args:
        queries: n rows.
        items: n rows, the same items.
        product: (n,) codes.
        wanted: (n, n) bool: the other photos of a query's product that count.
    """
    itself = torch.arange(len(product))
    rows = topk(queries, items, K, exclude=Excluded(itself, itself)).rows
    hits = wanted.gather(1, rows).any(dim=1)
    return 100.0 * float(hits[wanted.any(dim=1)].float().mean())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--missing", type=float, default=0.3)
    given = parser.parse_args()
    catalog = open_catalog(given.catalog)
    meta = catalog.meta()
    rows = torch.from_numpy(np.flatnonzero(meta["split"] == given.split))
    image, text = catalog.image[rows].float(), catalog.text[rows].float()
    ids = meta["product_id"].to_numpy()[rows.numpy()].astype(str)
    product = torch.from_numpy(np.unique(ids, return_inverse=True)[1])
    mates = product[:, None] == product[None]
    mates.fill_diagonal_(False)
    results: dict[str, list[tuple[float, float]]] = {}
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        lost = torch.rand(len(rows), generator=generator) < given.missing
        left = text * ~lost[:, None]
        asking = mates & ~lost[:, None]  # queries that have a text
        kinds = asking & ~lost[None], asking & lost[None]
        query, whole = Fused(image, left, WEIGHT_IMAGE), Fused(image, text, WEIGHT_IMAGE)
        imputed = impute_texts(image, left, catalog.layout)
        searches: dict[str, tuple[Vectors, Vectors]] = {
            "all texts there": (whole, whole),
            "similarity 0": (query, query),
            "imputed": (query, Fused(image, imputed, WEIGHT_IMAGE)),
            "photo alone": (image, image),
        }
        for name, (queries, items) in searches.items():
            numbers = [found(queries, items, product, wanted) for wanted in kinds]
            results.setdefault(name, []).append((numbers[0], numbers[1]))
    print("| search | items with a text | items without |\n| --- | ---: | ---: |")
    for name, numbers in results.items():
        kept, removed = np.mean(numbers, axis=0)
        print(f"| {name} | {kept:.1f} | {removed:.1f} |")


if __name__ == "__main__":
    main()
