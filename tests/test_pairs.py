"""Pairs in tiers: what is known to be alike is never taken for different; nothing is guessed."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Run
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.mining import hard_negatives
from fashret.functional.pairing import draw_pairs
from fashret.functional.tiers import TIERS, TierCodes, pair_tiers

SHARES = {"strong": 0.35, "medium": 0.2, "weak": 0.1, "hard": 0.3, "easy": 0.05}


def random_items(seed: int, n: int = 200) -> TierCodes:
    """Items with few values, a fifth of them unknown."""
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int, *shape: int) -> Tensor:
        drawn = torch.randint(0, high, shape or (n,), generator=generator)
        unknown = torch.rand(drawn.shape, generator=generator) < 0.2
        return drawn.masked_fill(unknown, -1)

    return TierCodes(codes(4), codes(70), codes(90), codes(3, n, 3), medium=[0], weak=[1, 2])


def tier_of(items: TierCodes, a: int, b: int) -> set[str]:
    """The tiers of a pair, from the words of their definition."""
    c = [items.category[i].item() for i in (a, b)]
    one_category, two = c[0] == c[1] != -1, c[0] != c[1] and -1 not in c
    product = items.product[a] == items.product[b] != -1
    caption = items.caption[a] == items.caption[b] != -1
    x, y = items.attributes[a].tolist(), items.attributes[b].tolist()
    both = [(i, j) for i, j in zip(x, y, strict=True) if -1 not in (i, j)]
    shared = [i for i in range(3) if x[i] == y[i] != -1]
    alike = x == y and len(shared) > 0
    found = set()
    if product or (one_category and alike):
        found.add("strong")
    elif one_category and 0 in shared:
        found.add("medium")
    elif one_category and shared:
        found.add("weak")
    if not product and not caption:
        if one_category and any(i != j for i, j in both):
            found.add("hard")
        if two:
            found.add("easy")
    return found


@pytest.mark.parametrize("seed", range(5))
def test_tiers_are_what_their_words_say(seed: int) -> None:
    items = random_items(seed, 60)
    masks = pair_tiers(items[:, None], items[None])
    for a in range(60):
        for b in range(60):
            found = {tier for tier in TIERS if bool(getattr(masks, tier)[a, b])}
            assert found == tier_of(items, a, b), (a, b)


@pytest.mark.parametrize("seed", range(5))
def test_no_pair_is_right_and_wrong_in_a_tier(seed: int) -> None:
    items = random_items(seed, 80)
    for tier, relations in pair_tiers(items[:, None], items[None]).levels().items():
        assert not (relations.positive & relations.negative).any()
        for a, b in relations.negative.nonzero().tolist():
            assert items.product[a] != items.product[b] or items.product[a] == -1
            assert items.caption[a] != items.caption[b] or items.caption[a] == -1
            x, y = items.attributes[a].tolist(), items.attributes[b].tolist()
            places = {"strong": [0, 1, 2], "medium": [0], "weak": [1, 2]}[tier]
            known = [(x[i], y[i]) for i in places if -1 not in (x[i], y[i])]
            one_category = items.category[a] == items.category[b]
            assert not one_category or any(i != j for i, j in known)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_of_their_tier_and_as_many_as_asked(seed: int) -> None:
    items = random_items(seed)
    generator = torch.Generator().manual_seed(seed)
    images = normalize(torch.randn(200, 8, generator=generator), dim=1)
    mined = hard_negatives(
        images, items.category, items.product, items.caption, items.attributes, depth=9, keep=1
    )
    pairs = draw_pairs(items, mined, SHARES, count=900, rng=np.random.default_rng(seed))
    assert len(set(zip(pairs.anchor, pairs.other, pairs.tier, strict=True))) == len(pairs.anchor)
    for a, b, tier in zip(pairs.anchor, pairs.other, pairs.tier, strict=True):
        assert a != b
        assert TIERS[tier] in tier_of(items, a, b)
    counts = dict(zip(TIERS, np.bincount(pairs.tier, minlength=5).tolist(), strict=True))
    strong = counts.pop("strong")
    assert counts == {"medium": 180, "weak": 90, "hard": 270, "easy": 45}
    there = int((pair_tiers(items[:, None], items[None]).strong & ~torch.eye(200).bool()).sum())
    assert 0.9 * min(315, there) < strong <= 315  # nearly all that there are
    hard = pairs.tier == TIERS.index("hard")
    assert (pairs.rank[hard] > 0).sum() == min(270, len(mined.anchor))
    assert (pairs.rank[~hard] == 0).all()
    again = draw_pairs(items, mined, SHARES, count=900, rng=np.random.default_rng(seed))
    assert (again.anchor == pairs.anchor).all()
    assert (again.other == pairs.other).all()


def test_a_tier_that_does_not_exist_has_no_pairs() -> None:
    nothing = torch.full((20,), -1)
    items = TierCodes(torch.zeros(20).long(), nothing, nothing, nothing[:, None], [], [])
    mined = hard_negatives(
        normalize(torch.randn(20, 4), dim=1), items.category, nothing, nothing, items.attributes,
        depth=5, keep=2,
    )  # fmt: skip
    pairs = draw_pairs(items, mined, SHARES, count=50, rng=np.random.default_rng(0))
    assert len(pairs.anchor) == 0


def test_a_run_with_pairs_leaves_them_in_its_folder(run: Run) -> None:
    run.cache_dir = run.root / "cache"  # it holds this catalog alone
    options = ("miner=pairs", "miner.count=200", "loss=attribute_aware", "trainer.max_epochs=2")
    mining = run("train", *options) / "mining"
    pairs = pd.read_parquet(mining / "pairs.parquet")
    stats = json.loads((mining / "pairs_stats.json").read_text())
    assert list(stats) == list(TIERS)
    for tier, counts in stats.items():
        of_tier = pairs[pairs["tier"] == tier]
        assert len(of_tier) == counts["made"] <= counts["asked"]
        assert of_tier["anchor_id"].nunique() == counts["anchors"]
    assert stats["strong"]["made"] == 48  # 24 training products of two photos
    assert stats["strong"]["mean_similarity"] > stats["easy"]["mean_similarity"]
    meta = pd.read_parquet(next(run.cache_dir.glob("catalogs/*sample*/catalog_meta.parquet")))
    split = dict(zip(meta["item_id"], meta["split"], strict=True))
    assert {split[item] for item in (*pairs["anchor_id"], *pairs["other_id"])} == {"train"}
