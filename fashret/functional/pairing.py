"""Sampling of training pairs of every tier (see `functional.tiers`) in array operations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.functional.mining import HardPairs
from fashret.functional.tiers import TIERS, TierCodes, TierMasks, pair_tiers
from fashret.types import UNKNOWN

RowArray = NDArray[np.int64]
Proposal = Callable[[RowArray, np.random.Generator], RowArray]
"""Draws a partner for each anchor row, -1 for none."""

_MAX_ROUNDS = 12
"""Rounds of sampling after which a tier is assumed to hold no more pairs."""


@dataclass(frozen=True)
class Pairs:
    """P pairs of items, sorted by tier.

    Attributes:
        anchor: (P,) long rows of the first items.
        other: (P,) long rows of their partners.
        tier: (P,) long positions in `TIERS`.
        rank: (P,) long rank of a mined negative among the anchor's nearest, from 1; 0 for a pair
            that was drawn at random.
    """

    anchor: RowArray
    other: RowArray
    tier: RowArray
    rank: RowArray


def draw_pairs(
    items: TierCodes,
    mined: HardPairs,
    shares: Mapping[str, float],
    *,
    count: int,
    rng: np.random.Generator,
    differing: TierCodes | None = None,
) -> Pairs:
    """Draw pairs of distinct items of every tier, no pair twice in a tier.

    Hard negatives are the mined ones first, and then items of one category that are known to
    differ. A tier that has fewer pairs than its share gets as many as were found.

    Args:
        items: tier codes of n items.
        mined: hard negatives among these items.
        shares: share of each tier in `count`, 0 to 1, by the names of `TIERS`.
        count: number of pairs that are requested in all.
        rng: random generator of the sampling.
        differing: codes of the same n items with only the attributes that count as a difference of
            hard negatives; `items` by default.
    """
    proposals = _proposals(items)
    parts = []
    for code, tier in enumerate(TIERS):
        requested = round(shares.get(tier, 0.0) * count)
        anchor, other, rank = _choose_mined(mined, requested if tier == "hard" else 0, rng)
        codes = items if tier != "hard" or differing is None else differing
        anchor, other = _add_pairs(codes, proposals[tier], tier, requested, anchor, other, rng)
        rank = np.concatenate([rank, np.zeros(len(anchor) - len(rank), dtype=np.int64)])
        parts.append((anchor, other, np.full(len(anchor), code, dtype=np.int64), rank))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _add_pairs(
    items: TierCodes,
    proposals: Sequence[Proposal],
    tier: str,
    requested: int,
    anchor: RowArray,
    other: RowArray,
    rng: np.random.Generator,
) -> tuple[RowArray, RowArray]:
    """Add pairs of a tier until there are as many as requested, or no new ones are found."""
    n = len(items.category)
    for _ in range(_MAX_ROUNDS if proposals and n > 1 else 0):
        missing = requested - len(anchor)
        if missing <= 0:
            break
        for propose in proposals:
            anchors = rng.integers(0, n, 1 + 2 * missing // len(proposals))
            others = propose(anchors, rng)
            valid = (others >= 0) & (others != anchors)
            anchors, others = anchors[valid], others[valid]
            tiers = pair_tiers(items[torch.from_numpy(anchors)], items[torch.from_numpy(others)])
            in_tier = _tier_mask(tiers, tier).numpy()
            anchor = np.concatenate([anchor, anchors[in_tier]])
            other = np.concatenate([other, others[in_tier]])
        _, first = np.unique(anchor * n + other, return_index=True)
        first.sort()
        anchor, other = anchor[first][:requested], other[first][:requested]
    return anchor, other


def _tier_mask(tiers: TierMasks, tier: str) -> Tensor:
    mask: Tensor = getattr(tiers, tier)
    return mask & ~tiers.strong if tier in ("hard", "easy") else mask


def _choose_mined(
    mined: HardPairs, requested: int, rng: np.random.Generator
) -> tuple[RowArray, RowArray, RowArray]:
    """Choose some of the mined pairs at random: their anchors, negatives and ranks."""
    chosen = np.sort(rng.permutation(len(mined.anchor))[:requested])
    return mined.anchor.numpy()[chosen], mined.negative.numpy()[chosen], mined.rank.numpy()[chosen]


def _proposals(items: TierCodes) -> dict[str, list[Proposal]]:
    """Functions that propose partners, by tier."""
    category = items.category.numpy()
    attributes = items.attributes.numpy()
    all_codes = np.column_stack([category, attributes])
    has_labels = (category != UNKNOWN) & (attributes != UNKNOWN).any(axis=1)

    def by_category_and(columns: Sequence[int]) -> list[Proposal]:
        keys = [_keys(np.column_stack([category, attributes[:, i]])) for i in columns]
        known = [(category != UNKNOWN) & (attributes[:, i] != UNKNOWN) for i in columns]
        return [_within_key(np.where(k, key, -1)) for key, k in zip(keys, known, strict=True)]

    return {
        "strong": [
            _within_key(items.product.numpy()),
            _within_key(np.where(has_labels, _keys(all_codes), -1)),
        ],
        "medium": by_category_and(items.medium),
        "weak": by_category_and(items.weak),
        "hard": [_within_key(category)],
        "easy": [lambda anchors, rng: rng.integers(0, len(category), len(anchors))],
    }


def _keys(columns: RowArray) -> RowArray:
    """Number the distinct rows of (n, C) codes: (n,) keys, equal for equal rows."""
    return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _within_key(keys: RowArray) -> Proposal:
    """Make a function that proposes a row with the anchor's key; none where the key is -1."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]

    def propose(anchors: RowArray, rng: np.random.Generator) -> RowArray:
        first = np.searchsorted(ordered, keys[anchors], side="left")
        last = np.searchsorted(ordered, keys[anchors], side="right")
        position = first + (rng.random(len(anchors)) * (last - first)).astype(np.int64)
        return np.where(keys[anchors] < 0, -1, order[position])

    return propose
