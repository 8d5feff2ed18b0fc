"""Drawing pairs of every tier against a plain loop over groups of a table.

    python benchmarks/pairing.py

50,000 pairs of 40,000 items in the default shares. The plain way groups a pandas table by what
makes a tier's pairs alike, draws an anchor and one of its group, and keeps the pair where it is of
the tier and new. Both must make as many pairs of every tier, each of its tier and none twice.
"""

import random
from collections.abc import Iterator, Mapping

import drawn
import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark

from fashret.config import config_dir
from fashret.functional.mining import HardPairs, hard_negatives
from fashret.functional.pairing import Pairs, draw_pairs
from fashret.functional.tiers import TIERS, TierCodes, pair_tiers
from fashret.types import UNKNOWN


def tier_of(a: tuple[int, ...], b: tuple[int, ...], items: TierCodes) -> str | None:
    """The tier of a pair of (category, product, caption, *attributes)."""
    one_category = a[0] == b[0]
    if a[1] == b[1]:
        return "strong"
    known = [(x, y) for x, y in zip(a[3:], b[3:], strict=True) if x >= 0 and y >= 0]
    as_much = all((x < 0) == (y < 0) for x, y in zip(a[3:], b[3:], strict=True))
    differ = any(x != y for x, y in known)
    if one_category and as_much and known and not differ:
        return "strong"
    if one_category:
        for tier, places in (("medium", items.medium), ("weak", items.weak)):
            if any(a[3 + p] == b[3 + p] != UNKNOWN for p in places):
                return tier
    return None


def is_negative(a: tuple[int, ...], b: tuple[int, ...], tier: str) -> bool:
    """Whether a pair that is not strong may be a hard or an easy one."""
    if a[2] == b[2]:
        return False
    if tier == "easy":
        return a[0] != b[0]
    return a[0] == b[0] and any(x != y and x >= 0 and y >= 0 for x, y in zip(a[3:], b[3:]))  # noqa: B905


def plain(
    items: TierCodes, mined: HardPairs, shares: Mapping[str, float], count: int
) -> dict[str, list[tuple[int, int]]]:
    """Pairs by tier."""
    draw = random.Random(0)
    columns = {"category": items.category, "product": items.product, "caption": items.caption}
    columns |= {f"a{i}": items.attributes[:, i] for i in range(items.attributes.shape[1])}
    frame = pd.DataFrame({name: codes.numpy() for name, codes in columns.items()})
    known = list(frame.itertuples(index=False, name=None))
    attributes = [name for name in frame if name.startswith("a")]
    keys = {
        "strong": [["product"], ["category", *attributes]],
        "medium": [["category", f"a{i}"] for i in items.medium],
        "weak": [["category", f"a{i}"] for i in items.weak],
        "hard": [["category"]],
    }
    found: dict[str, list[tuple[int, int]]] = {}
    for tier in TIERS:
        wanted = round(shares.get(tier, 0.0) * count)
        pairs: dict[tuple[int, int], None] = {}
        if tier == "hard":
            chosen = draw.sample(range(len(mined.anchor)), min(wanted, len(mined.anchor)))
            anchor, other = mined.anchor[chosen].tolist(), mined.negative[chosen].tolist()
            pairs = dict.fromkeys(zip(anchor, other, strict=True))
        groups = []
        for names in keys.get(tier, []):
            members = frame.groupby(names).indices
            of_row = list(frame[names].itertuples(index=False, name=None))
            groups.append((members, of_row, len(names) == 1))
        tries = 0
        while len(pairs) < wanted and tries < 50 * wanted:
            tries += 1
            a = draw.randrange(len(known))
            if tier == "easy":
                b = draw.randrange(len(known))
            else:
                members, of_row, single = groups[tries % len(groups)]
                group = members[of_row[a][0] if single else of_row[a]]
                b = int(group[draw.randrange(len(group))])
            if a == b or (a, b) in pairs:
                continue
            reached = tier_of(known[a], known[b], items)
            if reached == tier or (
                tier in ("hard", "easy")
                and reached != "strong"
                and is_negative(known[a], known[b], tier)
            ):
                pairs[a, b] = None
        found[tier] = list(pairs)
    return found


def check(items: TierCodes, mine: Pairs, theirs: dict[str, list[tuple[int, int]]]) -> str:
    """Both made the same numbers of right pairs; returns the numbers."""
    said = []
    for code, tier in enumerate(TIERS):
        of_tier = mine.tier == code
        ours = np.column_stack([mine.anchor[of_tier], mine.other[of_tier]])
        assert len(ours) == len(theirs[tier]), f"{tier}: {len(ours)} and {len(theirs[tier])}"
        for pairs in (ours, np.array(theirs[tier]).reshape(-1, 2)):
            tensor = torch.from_numpy(pairs)
            masks = pair_tiers(items[tensor[:, 0]], items[tensor[:, 1]])
            right = getattr(masks, tier)
            assert bool(right.all()), f"{tier}: {int((~right).sum())} are of another tier"
            assert len(np.unique(pairs, axis=0)) == len(pairs), f"{tier}: pairs come twice"
        said.append(f"{len(ours):,} {tier}")
    return ", ".join(said)


def rows(options: Options) -> Iterator[Row]:
    count, pairs = (4000, 5000) if options.quick else (40_000, 50_000)
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides=["miner=pairs", "paths.output_dir=."])
    shares = dict(cfg.miner.shares)
    items = drawn.codes(count)
    mined = hard_negatives(
        drawn.features(count, 64),
        items.category,
        items.product,
        items.caption,
        items.attributes,
        depth=cfg.miner.depth,
        keep=cfg.miner.keep,
    )
    ratio = alternate(
        lambda: draw_pairs(items, mined, shares, count=pairs, rng=np.random.default_rng(0)),
        lambda: plain(items, mined, shares, pairs),
        options.repeats,
    )
    note = check(items, *ratio.found)
    what = f"{pairs:,} pairs of {count:,} items"
    yield Row.of(what, "plain loop over pandas groups", ratio, note=note)


if __name__ == "__main__":
    benchmark(rows, __doc__)
