"""Mining hard negatives against a bare matmul and a masked top-k over the same items.

    python benchmarks/mining.py

20,000 items of 512 dimensions in twelve categories of unlike size. The bare one multiplies a
category with itself in chunks, takes the nearest `depth` that are not the anchor, and keeps the
first `keep` of another product and caption that differ in a known attribute. Ours orders by exact
scores, counts what became of every candidate, and says in what a pair differs. Both must find the
same pairs.
"""

from collections.abc import Callable, Iterator

import drawn
import torch
from measure import Options, Row, alternate, benchmark, cost
from torch import Tensor

from fashret.functional.mining import HardPairs, hard_negatives
from fashret.functional.tiers import TierCodes
from fashret.types import UNKNOWN

DIM, DEPTH, KEEP = 512, 50, 10


def ours(images: Tensor, items: TierCodes) -> HardPairs:
    return hard_negatives(
        images,
        items.category,
        items.product,
        items.caption,
        items.attributes,
        depth=DEPTH,
        keep=KEEP,
    )


def bare(images: Tensor, items: TierCodes) -> tuple[Tensor, Tensor]:
    found = []
    for code in items.category.unique().tolist():
        rows = (items.category == code).nonzero()[:, 0]
        kind = images[rows]
        for start in range(0, len(rows), 1024):
            part = rows[start : start + 1024]
            scores = kind[start : start + 1024] @ kind.T
            scores[torch.arange(len(part)), torch.arange(start, start + len(part))] = -torch.inf
            near = rows[scores.topk(min(DEPTH, len(rows) - 1)).indices]
            known_a, known_b = items.attributes[part][:, None], items.attributes[near]
            differ = (known_a != known_b) & (known_a != UNKNOWN) & (known_b != UNKNOWN)
            right = differ.any(dim=2)
            right &= items.product[part][:, None] != items.product[near]
            right &= items.caption[part][:, None] != items.caption[near]
            right &= right.cumsum(dim=1) <= KEEP
            place, column = right.nonzero(as_tuple=True)
            found.append((part[place], near[place, column]))
    anchor, negative = (torch.cat(part) for part in zip(*found, strict=True))
    return anchor, negative


def make(what: str, items: int) -> Callable[[], None]:
    images, known = drawn.features(items, DIM), drawn.codes(items)

    def work() -> None:
        ours(images, known) if what == "ours" else bare(images, known)

    return work


def rows(options: Options) -> Iterator[Row]:
    items = 4000 if options.quick else 20_000
    images, known = drawn.features(items, DIM), drawn.codes(items)
    ratio = alternate(lambda: ours(images, known), lambda: bare(images, known), options.repeats)
    mine, (anchor, negative) = ratio.found
    pairs = [a * items + b for a, b in ((mine.anchor, mine.negative), (anchor, negative))]
    same = float(torch.isin(*pairs).double().mean())
    assert len(pairs[0]) == len(pairs[1]), "not as many pairs"
    assert same > 0.9999, f"only {same:.5f} of the pairs are the same"
    what = f"hard negatives of {items:,} items"
    note = f"{len(pairs[0]):,} pairs, {same:.4%} the same"
    yield Row.of(what, "bare matmul and masked top-k", ratio, bound=1.3, note=note)
    held = {which: cost(make, which, items, repeats=0).gib for which in ("ours", "bare")}
    yield Row(
        f"memory over the inputs, {what}",
        "bare matmul and masked top-k",
        held["ours"],
        held["bare"],
        "GiB",
        held["ours"] / held["bare"],
    )


if __name__ == "__main__":
    benchmark(rows, __doc__)
