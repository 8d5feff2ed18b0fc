"""Sampling of batches of P products with K photos each."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashret.loading.mined_sampler import replaced_share
from fashret.loading.samplers import DUE_EVERY, BatchRows, TrainingSampler
from fashret.types import UNKNOWN

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class HardProducts:
    """Products that are drawn together with the products they are confused with.

    Attributes:
        partners: (N, K) long rows of the hard negatives of each row of the table, -1 for none.
        ramp: epochs until the replaced share has its full size; 0 starts with the full size.
        random: share of a batch's products that stay random, 0 to 1.
    """

    partners: Rows
    ramp: int
    random: float

    def replaced_share(self, epoch: int) -> float:
        """Share of a batch's products that are replaced in an epoch, 0 to 1."""
        return replaced_share(epoch, ramp=self.ramp, random=self.random)


class ProductSampler(TrainingSampler):
    """Draws P products for each batch, and K photos of each.

    No product is twice in a batch. A product that has fewer than K photos gives the same ones
    again; one with more gives others in each epoch. An epoch has every product once, or as often
    as its photos fill. The last batch is filled up with products that are drawn at random, so that
    every batch has the same size.

    Args:
        sides: rows from which the photos of a product are drawn, equally many from each: all of
            them, or the photos that ask and those that are searched. A row may be on both sides.
        product: (N,) long codes of the products of all rows of the table.
        photos: photos K of each product.
        num_products: products P in a batch and process; fewer if there are fewer.
        by_photo: whether an epoch has each photo about once, instead of each product.
        singles: (s,) long rows of products with a single photo.
        num_singles: rows of `singles` that are added to each batch.
        seed: seed of the order.
        reshuffle: False repeats the first epoch's batches in every epoch.
        rank: number of this process, from 0.
        world_size: number of processes.

    Attributes:
        products: (p,) long codes of the products that have photos on every side.
    """

    def __init__(
        self,
        sides: tuple[Rows, ...],
        product: Rows,
        *,
        photos: int,
        num_products: int,
        by_photo: bool = False,
        singles: Rows | None = None,
        num_singles: int = 0,
        seed: int,
        reshuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.products = products_of(sides, product)
        rows = [side[np.isin(product[side], self.products)] for side in sides]
        self.singles = np.empty(0, dtype=np.int64) if singles is None else singles
        self.num_singles = num_singles if len(self.singles) else 0
        self.photos = photos
        self.num_products = max(1, min(num_products, len(self.products) // world_size))
        super().__init__(
            np.unique(np.concatenate(rows)),
            batch_size=self.num_products * photos + self.num_singles,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.batch_size = self.num_products * photos + self.num_singles
        self.reshuffle = reshuffle
        self._product = product
        self._sides = [(side, np.searchsorted(self.products, product[side])) for side in rows]
        counts = np.zeros(len(self.products), dtype=np.int64)
        for _, owner in self._sides:
            counts = np.maximum(counts, np.bincount(owner, minlength=len(self.products)))
        per_side = max(1, photos // len(sides))
        slots = -(-counts // per_side) if by_photo else np.ones_like(counts)
        self._per_step = self.num_products * world_size
        self._num_steps = -(-int(slots.sum()) // self._per_step)
        self._slots = np.minimum(slots, self._num_steps)  # once in a step
        self._hard: HardProducts | None = None
        self._partners: Rows = np.empty((0, 0), dtype=np.int64)

    def __len__(self) -> int:
        return self._num_steps

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next; Lightning calls this before each epoch."""
        self.epoch = epoch if self.reshuffle else 0

    def with_hard_products(self, hard: HardProducts) -> "ProductSampler":
        """Copy the sampler, so that some products of a batch are hard negatives of the others."""
        other = copy(self)
        other._hard = hard
        found = self._product[hard.partners.clip(min=0)]
        index = np.searchsorted(self.products, found).clip(max=len(self.products) - 1)
        known = (hard.partners >= 0) & (self.products[index] == found)
        by_row = np.where(known, index, UNKNOWN)
        rows, owner = self._sides[0]
        parts = [by_row[rows[owner == i]].reshape(-1) for i in range(len(self.products))]
        unique = [np.unique(part[part != UNKNOWN]) for part in parts]
        width = max((len(part) for part in unique), default=0)
        other._partners = np.full((len(unique), width), UNKNOWN, dtype=np.int64)
        for i, part in enumerate(unique):
            other._partners[i, : len(part)] = part
        return other

    def epoch_batches(self) -> Iterator[BatchRows]:
        """Yield the batches of this process in the epoch.

        A step of several processes has the products of a larger batch of one process, and each
        process its part of them.
        """
        rng = np.random.default_rng([self.seed, 5, self.epoch])
        count = len(self.products)
        order = rng.permutation(count)
        # Slots of one product are consecutive, so that they fall into different steps.
        slots = np.repeat(order, self._slots[order])
        photos = [_ShuffledPhotos(rows, owner, count, rng) for rows, owner in self._sides]
        shares = [len(part) for part in np.array_split(np.arange(self.photos), len(photos))][::-1]
        singles = rng.permutation(self.singles)
        own = slice(self.rank * self.num_products, (self.rank + 1) * self.num_products)
        for step in range(self._num_steps):
            chosen = self._filled(slots[step :: self._num_steps], rng)
            taken = [
                np.concatenate([p.take(product, n) for p, n in zip(photos, shares, strict=True)])
                for product in chosen.tolist()
            ]
            first = (step * self.world_size + self.rank) * self.num_singles
            added = (first + np.arange(self.num_singles)) % max(1, len(singles))
            yield BatchRows(np.concatenate([*taken[own], singles[added]]), self.epoch)

    def _filled(self, products: Rows, rng: np.random.Generator) -> Rows:
        """Fill a batch up to P products, and exchange some for hard negatives of the others."""
        missing = self._per_step - len(products)
        if missing > 0:
            others = np.setdiff1d(np.arange(len(self.products)), products)
            products = np.concatenate([products, rng.permutation(others)[:missing]])
        if self._hard is None:
            return products
        num_hard = min(
            int(self._hard.replaced_share(self.epoch) * len(products)), len(products) - 1
        )
        # Each product is an anchor at least once in DUE_EVERY epochs.
        order = rng.permutation(len(products))
        due = products[order] % DUE_EVERY == self.epoch % DUE_EVERY
        order = order[np.argsort(~due, kind="stable")]
        kept = len(products) - max(0, min(num_hard, len(products) - int(due.sum())))
        anchors, others = products[order[:kept]], products[order[kept:]]
        partners = self._partners[anchors].reshape(-1)
        partners = rng.permutation(np.setdiff1d(partners[partners >= 0], anchors))[: len(others)]
        rest = np.setdiff1d(others, partners, assume_unique=True)[: len(others) - len(partners)]
        return np.concatenate([anchors, partners, rest])


class _ShuffledPhotos:
    """The photos of each product in an order that is drawn once per epoch.

    Args:
        rows: (n,) long rows of the table.
        owner: (n,) long number of each row's product.
        count: number of products.
        rng: draws the order.
    """

    def __init__(self, rows: Rows, owner: Rows, count: int, rng: np.random.Generator) -> None:
        self._rows = rows[np.lexsort((rng.random(len(rows)), owner))]
        self._sizes = np.bincount(owner, minlength=count)
        self._starts = self._sizes.cumsum() - self._sizes
        self._taken = np.zeros(count, dtype=np.int64)

    def take(self, product: int, count: int) -> Rows:
        """Return the next `count` photos of a product, from the first again after the last."""
        size, taken = self._sizes[product], self._taken[product]
        self._taken[product] += count
        chosen: Rows = self._rows[self._starts[product] + (taken + np.arange(count)) % size]
        return chosen


def products_of(sides: tuple[Rows, ...], product: Rows) -> Rows:
    """Return the products that have at least two photos, and a photo on every side; ascending.

    Args:
        sides: rows of the table, see `ProductSampler`.
        product: (N,) long codes of the products of all rows; UNKNOWN is no product.
    """
    every = np.unique(np.concatenate(sides))
    codes, counts = np.unique(product[every], return_counts=True)
    known: Rows = codes[(counts > 1) & (codes != UNKNOWN)]
    for side in sides:
        known = np.intersect1d(known, product[side])
    return known
