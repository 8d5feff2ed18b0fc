"""Tiers of item pairs by their products and attributes: the one place that decides them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fashret.types import UNKNOWN, Relations, TrainingItems

TIERS = ("strong", "medium", "weak", "hard", "easy")
"""The tiers from nearest to farthest: three of positives, two of negatives."""


@dataclass(frozen=True)
class TierCodes:
    """Codes of items that decide the tiers of pairs; `UNKNOWN` where a value is not known.

    Attributes:
        category: (...) long codes of categories.
        product: (...) long codes of products.
        caption: (...) long codes of texts.
        attributes: (..., A) long codes of A attributes' values.
        medium: columns of the attributes of which one equal value makes two items of a category a
            medium pair.
        weak: columns of the attributes of which one equal value makes them a weak pair.
    """

    category: Tensor
    product: Tensor
    caption: Tensor
    attributes: Tensor
    medium: Sequence[int]
    weak: Sequence[int]

    @classmethod
    def from_items(
        cls, items: TrainingItems, attributes: Sequence[str] | None = None
    ) -> "TierCodes":
        """Collect the codes of all items of a table.

        Attributes of `data.tiers` that the table does not have are ignored.

        Args:
            items: the items of the table.
            attributes: names of the attributes to use; all of the table's by default.
        """
        wanted = items.labels if attributes is None else attributes
        names = [name for name in items.labels if name in wanted and name != "category"]
        codes = [items.labels[name][0] for name in names]
        unknown = torch.full((len(items.ids), 1), UNKNOWN)

        def columns(tier: str) -> list[int]:
            return [names.index(name) for name in items.tiers.get(tier) or () if name in names]

        return cls(
            items.labels["category"][0],
            items.product,
            items.caption,
            torch.stack(codes, dim=1) if codes else unknown,
            columns("medium"),
            columns("weak"),
        )

    def __getitem__(self, index: Any) -> "TierCodes":
        """Select items; `[:, None]` and `[None]` make the rows and columns of a matrix."""
        return TierCodes(
            self.category[index],
            self.product[index],
            self.caption[index],
            self.attributes[index],
            self.medium,
            self.weak,
        )


@dataclass(frozen=True)
class TierMasks:
    """Masks of pairs by tier, and by the tiers that they are known not to be in; of one shape.

    Attributes:
        strong: same product, or same category and equal in every known attribute.
        medium: same category and an equal medium attribute, and not strong.
        weak: same category and an equal weak attribute, and neither strong nor medium.
        hard: same category and a known difference in an attribute.
        easy: different categories.
        not_medium: known not to be medium: easy, or different in a known medium attribute and
            equal in none.
        not_weak: known not to be weak, by the weak attributes.
    """

    strong: Tensor
    medium: Tensor
    weak: Tensor
    hard: Tensor
    easy: Tensor
    not_medium: Tensor
    not_weak: Tensor

    @property
    def not_strong(self) -> Tensor:
        """Known not to be strong: hard or easy."""
        return self.hard | self.easy

    def relations_by_tier(self) -> dict[str, Relations]:
        """Positives and negatives of each positive tier.

        Positives are the pairs of the tier and of nearer tiers, negatives those that are known to
        be farther.
        """
        medium = self.strong | self.medium
        weak = medium | self.weak
        return {
            "strong": Relations(self.strong, self.not_strong & ~self.strong),
            "medium": Relations(medium, self.not_medium & ~medium),
            "weak": Relations(weak, self.not_weak & ~weak),
        }


def pair_tiers(a: TierCodes, b: TierCodes) -> TierMasks:
    """Find the tiers of pairs of items.

    Items of one product and items with one caption are never negatives. An unknown value makes a
    pair neither positive nor negative.

    Args:
        a: codes of the first items.
        b: codes of the second items, of shapes that broadcast with those of `a`.
    """
    same_category = (a.category == b.category) & (a.category != UNKNOWN)
    other_category = (a.category != b.category) & (a.category != UNKNOWN) & (b.category != UNKNOWN)
    same_product = (a.product == b.product) & (a.product != UNKNOWN)
    same_caption = (a.caption == b.caption) & (a.caption != UNKNOWN)
    known_a, known_b = a.attributes != UNKNOWN, b.attributes != UNKNOWN
    known = known_a & known_b
    equal = known & (a.attributes == b.attributes)
    differ = known & (a.attributes != b.attributes)
    same_known = (known_a == known_b).all(dim=-1)
    same_attributes = same_known & equal.any(dim=-1) & ~differ.any(dim=-1)
    strong = same_product | (same_category & same_attributes)
    medium = same_category & _any(equal, a.medium)
    weak = same_category & _any(equal, a.weak)
    different = ~same_product & ~same_caption
    easy = different & other_category
    other_medium = same_category & different & _any(differ, a.medium) & ~medium
    other_weak = same_category & different & _any(differ, a.weak) & ~weak
    return TierMasks(
        strong=strong,
        medium=medium & ~strong,
        weak=weak & ~strong & ~medium,
        hard=different & same_category & differ.any(dim=-1),
        easy=easy,
        not_medium=easy | other_medium,
        not_weak=easy | other_weak,
    )


def _any(mask: Tensor, columns: Sequence[int]) -> Tensor:
    """Return whether a (..., A) mask is true in any of some columns, (...) bool."""
    return mask[..., list(columns)].any(dim=-1) if columns else torch.zeros_like(mask[..., 0])
