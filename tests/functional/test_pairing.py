"""Pairs in tiers: what is known to be alike is never taken for different; nothing is guessed."""

import numpy as np
import pytest
import torch
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
    for tier, relations in pair_tiers(items[:, None], items[None]).relations_by_tier().items():
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


def every_pair(items: TierCodes) -> dict[str, set[tuple[int, int]]]:
    """All pairs of distinct items by tier; no strong pair is drawn as a negative."""
    n = len(items.category)
    found: dict[str, set[tuple[int, int]]] = {tier: set() for tier in TIERS}
    for a in range(n):
        for b in range(n):
            tiers = tier_of(items, a, b) if a != b else set()
            for tier in tiers - ({"hard", "easy"} if "strong" in tiers else set()):
                found[tier].add((a, b))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_tier_that_is_asked_for_more_than_it_holds_gives_every_pair_once(seed: int) -> None:
    items = random_items(seed, 24)
    nothing = hard_negatives(
        torch.eye(24), torch.full((24,), -1), items.product, items.caption, items.attributes,
        depth=1, keep=1,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    pairs = draw_pairs(items, nothing, dict.fromkeys(TIERS, 1.0), count=3000, rng=rng)
    expected = every_pair(items)
    for code, tier in enumerate(TIERS):
        mine = pairs.tier == code
        found = list(zip(pairs.anchor[mine].tolist(), pairs.other[mine].tolist(), strict=True))
        assert len(found) == len(set(found)), tier
        assert set(found) == expected[tier], tier
        assert expected[tier], tier
    assert pairs.tier.tolist() == sorted(pairs.tier.tolist())
    assert (pairs.rank == 0).all()


def test_partners_of_one_key_are_drawn_evenly() -> None:
    # One product of 5 items: its 20 ordered pairs are alike to the draw of the strong tier.
    nothing = torch.full((6,), -1)
    product = torch.tensor([0, 0, 0, 0, 0, -1])
    items = TierCodes(nothing, product, nothing, nothing[:, None], [], [])
    mined = hard_negatives(
        torch.eye(6), nothing, product, nothing, nothing[:, None], depth=1, keep=1
    )
    counts = np.zeros((6, 6))
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        pairs = draw_pairs(items, mined, {"strong": 1.0}, count=4, rng=rng)
        assert len(pairs.anchor) == 4
        counts[pairs.anchor, pairs.other] += 1
    # 6000 pairs, 300 of each kind: five standard deviations are about 82.
    of_product = counts[:5, :5][~np.eye(5, dtype=bool)]
    assert of_product.sum() == 6000
    assert np.abs(of_product - 300).max() < 82


@pytest.mark.parametrize("asked", [1, 4, 30])
def test_mined_negatives_come_first_and_keep_their_ranks(asked: int) -> None:
    items = random_items(0, 60)
    images = normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    mined = hard_negatives(
        images, items.category, items.product, items.caption, items.attributes, depth=3, keep=1
    )
    assert 10 < len(mined.anchor) < 60
    ranks = dict(
        zip(
            zip(mined.anchor.tolist(), mined.negative.tolist(), strict=True),
            mined.rank.tolist(),
            strict=True,
        )
    )
    chosen = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pairs = draw_pairs(items, mined, {"hard": 0.5}, count=2 * asked, rng=rng)
        found = list(zip(pairs.anchor.tolist(), pairs.other.tolist(), strict=True))
        assert len(found) == asked
        for pair, rank in zip(found, pairs.rank.tolist(), strict=True):
            assert ranks.get(pair, 0) == rank or rank == 0
        assert (pairs.rank > 0).sum() == min(asked, len(ranks))
        chosen.add(tuple(found))
    assert len(chosen) == 5  # which are taken follows from the generator


def test_one_item_has_no_pairs() -> None:
    one = torch.zeros(1, dtype=torch.long)
    items = TierCodes(one, one, one, one[:, None], [0], [0])
    mined = hard_negatives(torch.ones(1, 1), one, one, one, one[:, None], depth=1, keep=1)
    pairs = draw_pairs(items, mined, SHARES, count=50, rng=np.random.default_rng(0))
    assert len(pairs.anchor) == len(pairs.rank) == 0
