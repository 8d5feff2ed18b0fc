"""What search, evaluation, mining and pairing take from 1,000 to 1,000,000 items.

    python benchmarks/growth.py

Each step at each size in a process of its own: seconds, and memory at the most above its inputs.
1,000 queries search embeddings of 128 dimensions, evaluation adds metrics, intervals, ceilings and
chance; mining looks at the nearest of each category in 64 dimensions; pairing draws as many pairs
as there are items. Mining compares every two items of a category: a size whose time would exceed a
minute by the size before is left out.
"""

from collections.abc import Callable, Iterator

import drawn
import numpy as np
import torch
from measure import Options, Row, benchmark, cost
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.mining import HardPairs, hard_negatives
from fashret.functional.pairing import draw_pairs
from fashret.functional.topk import topk

QUERIES, DIM, MINED_DIM, VALUES = 1000, 128, 64, 200
METRICS = [f"{m}@{k}" for m in ("hit", "recall", "precision", "mrr", "ndcg") for k in (1, 10)]
SHARES = {"strong": 0.35, "medium": 0.2, "weak": 0.1, "hard": 0.3, "easy": 0.05}
MOST = 60.0
"""Seconds that a step may take."""


def queries() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return normalize(torch.randn(QUERIES, DIM, generator=generator), dim=1)


def search(items: int) -> Callable[[], None]:
    catalog, asked = drawn.features(items, DIM), queries()

    def work() -> None:
        topk(asked, catalog, 10)

    return work


def evaluation(items: int) -> Callable[[], None]:
    catalog, asked = drawn.features(items, DIM), queries()
    generator = torch.Generator().manual_seed(2)
    of_query = torch.randint(VALUES, (QUERIES,), generator=generator)
    of_item = torch.randint(VALUES, (items,), generator=generator)

    def work() -> None:
        ranking = topk(asked, catalog, 10)
        drawn.evaluation(ranking, of_query, of_item, METRICS).results()

    return work


def mining(items: int) -> Callable[[], None]:
    images, known = drawn.features(items, MINED_DIM), drawn.codes(items)
    codes = known.category, known.product, known.caption, known.attributes

    def work() -> None:
        hard_negatives(images, *codes, depth=50, keep=10)

    return work


def pairing(items: int) -> Callable[[], None]:
    known = drawn.codes(items)
    none = torch.zeros(0, dtype=torch.long)
    mined = HardPairs(none, none, none, none.double(), torch.zeros(0, 5, dtype=torch.bool), {})

    def work() -> None:
        draw_pairs(known, mined, SHARES, count=items, rng=np.random.default_rng(0))

    return work


STEPS = {
    "search": (search, 1),
    "evaluation": (evaluation, 1),
    "hard mining": (mining, 2),
    "pairing": (pairing, 1),
}
"""What is measured, and the power of the items that its time grows with."""


def rows(options: Options) -> Iterator[Row]:
    sizes = (1000, 10_000) if options.quick else (1000, 10_000, 100_000, 1_000_000)
    for step, (make, power) in STEPS.items():
        expected = 0.0
        for items in sizes:
            what = f"{step} at {items:,} items"
            if expected > MOST:
                note = f"not run: about {expected:,.0f} s by the size before"
                yield Row(what, note=note)
                continue
            found = cost(make, items, repeats=1 if options.quick else 3)
            expected = found.seconds * 10**power
            yield Row(
                what,
                ours=found.seconds,
                note=f"{found.gib:.3f} GiB at the most above the inputs",
                curve={"step": step, "items": items, "seconds": found.seconds, "gib": found.gib},
            )


if __name__ == "__main__":
    benchmark(rows, __doc__)
