"""How alike two items are by what is known of them: the one place that decides a pair's tier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fashret.types import UNKNOWN, Relations, TrainingItems

TIERS = ("strong", "medium", "weak", "hard", "easy")
"""From the same thing to something else: three kinds of positives, two of negatives."""


@dataclass(frozen=True)
class TierCodes:
    """What decides the tiers of items: long codes, `UNKNOWN` where nothing is known.

    Attributes:
        category: (...).
        product: (...).
        caption: (...).
        attributes: (..., A).
        medium: places of the attributes, one of which makes two items of a category a medium pair.
        weak: of those, one of which makes them a weak pair.
    """

    category: Tensor
    product: Tensor
    caption: Tensor
    attributes: Tensor
    medium: Sequence[int]
    weak: Sequence[int]

    @classmethod
    def over(cls, items: TrainingItems, attributes: Sequence[str] | None = None) -> "TierCodes":
        """All items of a table; attributes that the data lack are none of a tier's.

        Args:
            items: the table.
            attributes: what is known of them here; all of the data's by default.
        """
        wanted = items.described if attributes is None else attributes
        names = [name for name in items.described if name in wanted and name != "category"]
        codes = [items.described[name][0] for name in names]
        nothing = torch.full((len(items.ids), 1), UNKNOWN)

        def places(tier: str) -> list[int]:
            return [names.index(name) for name in items.tiers.get(tier) or () if name in names]

        return cls(
            items.described["category"][0],
            items.product,
            items.caption,
            torch.stack(codes, dim=1) if codes else nothing,
            places("medium"),
            places("weak"),
        )

    def __getitem__(self, index: Any) -> "TierCodes":
        """Some of the items; `[:, None]` and `[None]` make the rows and columns of a matrix."""
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
    """Which tier pairs are of, and which tiers they are known not to reach; masks of one shape.

    Attributes:
        strong: one product, or one category and every known attribute.
        medium: one category and a medium attribute, and not strong.
        weak: one category and a weak attribute, and neither of those.
        hard: one category and a known difference.
        easy: two categories.
        not_medium: easy, or of another value in every medium attribute that is known of both.
        not_weak: likewise.
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
        """Hard or easy."""
        return self.hard | self.easy

    def levels(self) -> dict[str, Relations]:
        """Per positive tier: it and what is nearer, against what is known to be farther."""
        medium = self.strong | self.medium
        weak = medium | self.weak
        return {
            "strong": Relations(self.strong, self.not_strong & ~self.strong),
            "medium": Relations(medium, self.not_medium & ~medium),
            "weak": Relations(weak, self.not_weak & ~weak),
        }


def pair_tiers(a: TierCodes, b: TierCodes) -> TierMasks:
    """The tiers of pairs whose first items are `a` and second `b`, of shapes that broadcast.

    Items of one product and items of one caption are never negatives. What is unknown of an item
    makes neither a positive nor a negative of it.
    """
    one_category = (a.category == b.category) & (a.category != UNKNOWN)
    two_categories = (a.category != b.category) & (a.category != UNKNOWN) & (b.category != UNKNOWN)
    one_product = (a.product == b.product) & (a.product != UNKNOWN)
    one_caption = (a.caption == b.caption) & (a.caption != UNKNOWN)
    known_a, known_b = a.attributes != UNKNOWN, b.attributes != UNKNOWN
    known = known_a & known_b
    equal = known & (a.attributes == b.attributes)
    differ = known & (a.attributes != b.attributes)
    as_much_known = (known_a == known_b).all(dim=-1)
    alike = as_much_known & equal.any(dim=-1) & ~differ.any(dim=-1)
    strong = one_product | (one_category & alike)
    medium = one_category & _any(equal, a.medium)
    weak = one_category & _any(equal, a.weak)
    apart = ~one_product & ~one_caption
    easy = apart & two_categories
    other_material = one_category & apart & _any(differ, a.medium) & ~medium
    other_design = one_category & apart & _any(differ, a.weak) & ~weak
    return TierMasks(
        strong=strong,
        medium=medium & ~strong,
        weak=weak & ~strong & ~medium,
        hard=apart & one_category & differ.any(dim=-1),
        easy=easy,
        not_medium=easy | other_material,
        not_weak=easy | other_design,
    )


def _any(found: Tensor, places: Sequence[int]) -> Tensor:
    """(..., A) bool -> (...): whether one of some attributes is found."""
    return found[..., list(places)].any(dim=-1) if places else torch.zeros_like(found[..., 0])
