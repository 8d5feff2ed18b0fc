"""Neighbours of a category of a million items: in blocks, against comparing every two of them.

    python benchmarks/mining_blocks.py [--items N]

Embeddings of 512 dimensions, drawn in clusters as `indexes.py` draws them, all of one category: the
nearest 51 of each, as `miner=hard` looks for them. The recall is that of 500 items. Every two are
compared for 2,000 of the items, which gives the seconds for all.
"""

import argparse
import time

import torch
from indexes import drawn

from fashret.functional.neighbour_blocks import neighbours
from fashret.functional.topk import topk

SAMPLE, NEAREST = 2000, 51


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    items = parser.parse_args().items
    embeddings, _ = drawn(items, 1)
    some = embeddings[torch.randperm(items)[:SAMPLE]]
    topk(some[:10], embeddings, NEAREST, scored=0)  # warm
    began = time.perf_counter()
    topk(some, embeddings, NEAREST, scored=0)
    exact = (time.perf_counter() - began) * items / SAMPLE
    began = time.perf_counter()
    found = neighbours(embeddings, NEAREST, exact_up_to=1)
    seconds = time.perf_counter() - began
    print(
        f"{items:,} x {embeddings.shape[1]}, the nearest {NEAREST}: in blocks {seconds:,.0f} s "
        f"with a recall of {found.recall:.3f}, exactly {exact:,.0f} s"
    )


if __name__ == "__main__":
    main()
