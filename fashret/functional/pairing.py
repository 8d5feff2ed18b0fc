"""Pairs of items in tiers: drawn in array operations, checked by the tiers themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.functional.mining import HardPairs
from fashret.functional.tiers import TIERS, TierCodes, TierMasks, pair_tiers
from fashret.types import UNKNOWN

Rows = NDArray[np.int64]
Draw = Callable[[Rows, np.random.Generator], Rows]
"""Draws a partner for each anchor, -1 for none."""

_ROUNDS = 12
"""How often a tier is drawn from before it is taken to hold no more pairs."""


@dataclass(frozen=True)
class Pairs:
    """P pairs of rows, in the order of their tiers.

    Attributes:
        anchor: (P,) rows.
        other: (P,) rows.
        tier: (P,) places in `TIERS`.
        rank: (P,) the place of a mined negative among the anchor's nearest, 0 where it was drawn.
    """

    anchor: Rows
    other: Rows
    tier: Rows
    rank: Rows


def draw_pairs(
    items: TierCodes,
    mined: HardPairs,
    shares: Mapping[str, float],
    *,
    count: int,
    rng: np.random.Generator,
    differing: TierCodes | None = None,
) -> Pairs:
    """Draw pairs of distinct items, no pair twice in a tier, as many as there are.

    Hard negatives are the mined ones first, and then items of one category that are known to
    differ.

    Args:
        items: of n rows.
        mined: hard negatives among them.
        shares: of each tier in `count`.
        count: pairs that are asked for.
        rng: decides which.
        differing: the same rows with the attributes alone in which hard negatives differ; all of
            them by default.
    """
    draws = _draws(items)
    found = []
    for code, tier in enumerate(TIERS):
        wanted = round(shares.get(tier, 0.0) * count)
        anchor, other, rank = _mined(mined, wanted if tier == "hard" else 0, rng)
        of = items if tier != "hard" or differing is None else differing
        anchor, other = _draw(of, draws[tier], tier, wanted, anchor, other, rng)
        rank = np.concatenate([rank, np.zeros(len(anchor) - len(rank), dtype=np.int64)])
        found.append((anchor, other, np.full(len(anchor), code, dtype=np.int64), rank))
    return Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _draw(
    items: TierCodes,
    draws: Sequence[Draw],
    tier: str,
    wanted: int,
    anchor: Rows,
    other: Rows,
    rng: np.random.Generator,
) -> tuple[Rows, Rows]:
    """Add pairs of a tier until there are as many as wanted, or no new ones are found."""
    n = len(items.category)
    for _ in range(_ROUNDS if draws and n > 1 else 0):
        missing = wanted - len(anchor)
        if missing <= 0:
            break
        for draw in draws:
            anchors = rng.integers(0, n, 1 + 2 * missing // len(draws))
            others = draw(anchors, rng)
            there = (others >= 0) & (others != anchors)
            anchors, others = anchors[there], others[there]
            tiers = pair_tiers(items[torch.from_numpy(anchors)], items[torch.from_numpy(others)])
            right = _of_tier(tiers, tier).numpy()
            anchor = np.concatenate([anchor, anchors[right]])
            other = np.concatenate([other, others[right]])
        _, first = np.unique(anchor * n + other, return_index=True)
        first.sort()
        anchor, other = anchor[first][:wanted], other[first][:wanted]
    return anchor, other


def _of_tier(tiers: TierMasks, tier: str) -> Tensor:
    mask: Tensor = getattr(tiers, tier)
    return mask & ~tiers.strong if tier in ("hard", "easy") else mask


def _mined(mined: HardPairs, wanted: int, rng: np.random.Generator) -> tuple[Rows, Rows, Rows]:
    """Some of the mined negatives."""
    chosen = np.sort(rng.permutation(len(mined.anchor))[:wanted])
    return mined.anchor.numpy()[chosen], mined.negative.numpy()[chosen], mined.rank.numpy()[chosen]


def _draws(items: TierCodes) -> dict[str, list[Draw]]:
    """Ways to propose partners, by tier."""
    category = items.category.numpy()
    attributes = items.attributes.numpy()
    all_known = np.column_stack([category, attributes])
    described = (category != UNKNOWN) & (attributes != UNKNOWN).any(axis=1)

    def with_category(places: Sequence[int]) -> list[Draw]:
        keys = [_keys(np.column_stack([category, attributes[:, i]])) for i in places]
        known = [(category != UNKNOWN) & (attributes[:, i] != UNKNOWN) for i in places]
        return [_within(np.where(k, key, -1)) for key, k in zip(keys, known, strict=True)]

    return {
        "strong": [
            _within(items.product.numpy()),
            _within(np.where(described, _keys(all_known), -1)),
        ],
        "medium": with_category(items.medium),
        "weak": with_category(items.weak),
        "hard": [_within(category)],
        "easy": [lambda anchors, rng: rng.integers(0, len(category), len(anchors))],
    }


def _keys(columns: Rows) -> Rows:
    """(n, C) -> (n,): equal for equal rows."""
    return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _within(keys: Rows) -> Draw:
    """Proposes a row of the anchor's own key; none where that is -1."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]

    def draw(anchors: Rows, rng: np.random.Generator) -> Rows:
        first = np.searchsorted(ordered, keys[anchors], side="left")
        last = np.searchsorted(ordered, keys[anchors], side="right")
        place = first + (rng.random(len(anchors)) * (last - first)).astype(np.int64)
        return np.where(keys[anchors] < 0, -1, order[place])

    return draw
