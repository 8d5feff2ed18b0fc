"""Batches of P products with K photos each: which products, which photos, in which epoch."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fashret.loading.product_sampler import HardProducts, ProductSampler, products_of
from fashret.loading.samplers import DUE_EVERY

SEEDS = range(12)


def table(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Products of one to nine photos in any order, some photos of no product, and training rows."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, size=int(rng.integers(6, 40)))
    product = np.concatenate([np.repeat(np.arange(len(sizes)) * 3, sizes), np.full(5, -1)])
    product = rng.permutation(product)
    rows = np.sort(rng.choice(len(product), size=len(product) * 4 // 5, replace=False))
    return rows, product


def sampler(seed: int, **options: Any) -> tuple[ProductSampler, np.ndarray, np.ndarray]:
    rows, product = table(seed)
    given = {"photos": 3, "num_products": 5, "seed": seed} | options
    return ProductSampler((rows,), product, **given), rows, product


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("by_photo", [False, True])
def test_a_batch_has_so_many_products_with_so_many_photos_each(seed: int, by_photo: bool) -> None:
    batches, rows, product = sampler(seed, by_photo=by_photo)
    drawn = list(batches)
    assert len(drawn) == len(batches) > 0
    photos_of = Counter(product[rows].tolist())
    for batch in drawn:
        assert set(batch.rows.tolist()) <= set(rows.tolist())
        counts = Counter(product[batch.rows].tolist())
        assert -1 not in counts
        assert set(counts.values()) == {3}
        assert len(counts) == min(5, len(batches.products))
        for code in counts:
            own = batch.rows[product[batch.rows] == code]
            assert photos_of[code] >= 2
            assert len(set(own.tolist())) == min(3, photos_of[code])  # none twice without need


@pytest.mark.parametrize("seed", SEEDS)
def test_an_epoch_has_every_product(seed: int) -> None:
    batches, rows, product = sampler(seed)
    counts = Counter(product[rows].tolist())
    several = sorted(code for code, number in counts.items() if code >= 0 and number > 1)
    assert batches.products.tolist() == several
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        seen = Counter(code for b in batches for code in set(product[b.rows].tolist()))
        assert sorted(seen) == several
        # Only what fills the last batch is drawn again.
        assert sum(seen.values()) - len(several) < min(5, len(several))


@pytest.mark.parametrize("seed", SEEDS)
def test_by_photo_an_epoch_has_every_photo(seed: int) -> None:
    batches, rows, product = sampler(seed, by_photo=True)
    seen = {row for batch in batches for row in batch.rows.tolist()}
    wanted = set(rows[np.isin(product[rows], batches.products)].tolist())
    # A product that fills more batches than there are cannot show all of its photos.
    few = {code for code, n in Counter(product[rows].tolist()).items() if n <= 3 * len(batches)}
    assert {row for row in wanted if product[row] in few} <= seen


def test_another_epoch_has_other_batches_and_the_same_seed_the_same() -> None:
    first = [b.rows.tolist() for b in sampler(3)[0]]
    assert [b.rows.tolist() for b in sampler(3)[0]] == first
    batches = sampler(3)[0]
    batches.set_epoch(1)
    second = list(batches)
    assert [b.rows.tolist() for b in second] != first
    assert {b.epoch for b in second} == {1}
    fixed = sampler(3, reshuffle=False)[0]
    fixed.set_epoch(1)
    assert [b.rows.tolist() for b in fixed] == first


@pytest.mark.parametrize("seed", [1, 4])
def test_processes_share_the_batches_of_one(seed: int) -> None:
    for hard in (False, True):
        made = []
        for rank, world in ((0, 1), (0, 2), (1, 2)):
            batches, _, product = sampler(
                seed, num_products=4 // world, rank=rank, world_size=world
            )
            if hard:
                partners = np.roll(np.arange(len(product)), 1)[:, None]
                batches = batches.with_hard_products(HardProducts(partners, ramp=0, random=0.5))
            made.append([b.rows.tolist() for b in batches])
        assert made[0] == [one + two for one, two in zip(made[1], made[2], strict=True)]
        assert len(made[0]) > 1


def test_sides_give_half_of_the_photos_each() -> None:
    # Product 0 has three photos that ask and one that is searched; 1 lacks one that is searched;
    # in 2 both photos may do both; 3 has a single photo, which may do both.
    product = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3])
    asks, searched = np.array([0, 1, 2, 4, 5, 6, 7, 8]), np.array([3, 6, 7, 8])
    assert products_of((asks, searched), product).tolist() == [0, 2]
    batches = ProductSampler((asks, searched), product, photos=4, num_products=9, seed=0)
    seen = set()
    for epoch in range(6):
        batches.set_epoch(epoch)
        (batch,) = batches
        own = batch.rows[product[batch.rows] == 0].tolist()
        assert own.count(3) == 2
        assert len(set(own) - {3}) == 2
        seen |= set(own)
        assert sorted(batch.rows[product[batch.rows] == 2].tolist()) == [6, 6, 7, 7]
    assert seen == {0, 1, 2, 3}
    odd = ProductSampler((asks, searched), product, photos=3, num_products=9, seed=0)
    own = next(iter(odd)).rows[:3].tolist()
    assert len(own) == 3


def test_single_photos_fill_their_share() -> None:
    product = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5])
    batches = ProductSampler(
        (np.arange(6),), product, photos=2, num_products=2, singles=np.array([6, 7, 8]),
        num_singles=2, seed=0,
    )  # fmt: skip
    drawn = list(batches)
    assert len(drawn) == 2
    assert all(len(batch.rows) == 6 for batch in drawn)
    singles = [row for batch in drawn for row in batch.rows[4:].tolist()]
    assert set(singles) == {6, 7, 8}
    assert Counter(singles).most_common(1)[0][1] == 2  # four places for three photos
    without = ProductSampler((np.arange(6),), product, photos=2, num_products=2, seed=0)
    assert all(len(batch.rows) == 4 for batch in without)


def test_hard_products_come_with_the_products_they_are_confused_with() -> None:
    product = np.repeat(np.arange(40), 2)
    # Products are confused in pairs: 0 with 1, 2 with 3, ...
    other = 2 * (product ^ 1)
    partners = np.stack([other, other + 1, np.full(80, -1)], axis=1)
    plain = ProductSampler((np.arange(80),), product, photos=2, num_products=8, seed=0)
    hard = plain.with_hard_products(HardProducts(partners, ramp=4, random=0.5))

    def pairs(batches: ProductSampler, epoch: int) -> float:
        batches.set_epoch(epoch)
        found = []
        for batch in batches:
            inside = set(product[batch.rows].tolist())
            assert len(inside) == 8
            found.append(sum((code ^ 1) in inside for code in inside) / 8)
        return float(np.mean(found))

    random = np.mean([pairs(plain, epoch) for epoch in range(20)])
    assert random < 0.4
    assert pairs(hard, 0) < 0.6  # the first epoch is as it was drawn
    assert min(pairs(hard, epoch) for epoch in range(4, 20)) >= 0.75
    assert random < pairs(hard, 2) < 1.0
    seen = set()
    for epoch in range(4, 4 + DUE_EVERY):
        hard.set_epoch(epoch)
        seen |= {row for batch in hard for row in batch.rows.tolist()}
    assert seen == set(range(80))
    assert HardProducts(partners, ramp=0, random=0.25).replaced_share(0) == 0.75


def test_partners_of_products_that_are_not_trained_are_left_out() -> None:
    product = np.array([0, 0, 1, 1, 2, 2, 9])
    partners = np.array([[2, 6], [6, -1], [-1, -1], [0, 0], [0, 2], [3, 1], [-1, -1]])
    batches = ProductSampler((np.arange(6),), product, photos=2, num_products=2, seed=0)
    hard = batches.with_hard_products(HardProducts(partners, ramp=0, random=0.5))
    assert hard._partners.tolist() == [[1, -1], [0, -1], [0, 1]]


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    batches = sampler(5)[0]
    batches.set_epoch(2)
    whole = [b.rows.tolist() for b in batches]
    batches.num_done = 2
    assert [b.rows.tolist() for b in batches] == whole[2:]
    assert [b.rows.tolist() for b in batches] == whole


def test_products_without_enough_hard_partners_keep_others_of_the_batch() -> None:
    product = np.repeat(np.arange(12), 2)
    partners = np.full((24, 2), -1)
    partners[0] = [2, 4]  # of product 0: products 1 and 2; no other product has any
    plain = ProductSampler((np.arange(24),), product, photos=2, num_products=6, seed=0)
    hard = plain.with_hard_products(HardProducts(partners, ramp=0, random=0.0))
    for epoch in range(6):
        hard.set_epoch(epoch)
        for batch in hard:
            counts = Counter(product[batch.rows].tolist())
            assert len(counts) == 6
            assert set(counts.values()) == {2}
    nothing = plain.with_hard_products(HardProducts(partners, ramp=0, random=1.0))
    drawn = [[set(product[b.rows].tolist()) for b in batches] for batches in (nothing, plain)]
    assert drawn[0] == drawn[1]


def test_by_photo_a_product_comes_as_often_as_its_photos_fill() -> None:
    # Product 0 has seven photos, which fill four times two; the others have two.
    product = np.concatenate([np.zeros(7, dtype=np.int64), np.repeat(np.arange(1, 9), 2)])
    batches = ProductSampler(
        (np.arange(23),), product, photos=2, num_products=3, by_photo=True, seed=0
    )
    assert len(batches) == 4  # 4 + 8 places of 12
    times = Counter(code for b in batches for code in set(product[b.rows].tolist()))
    assert times == {0: 4} | dict.fromkeys(range(1, 9), 1)
    assert batches.batch_size == 6
    shown = Counter(row for b in batches for row in b.rows.tolist() if row < 7)
    assert sorted(shown.values()) == [1] * 6 + [2]
