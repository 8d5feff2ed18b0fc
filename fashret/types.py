"""The contracts that losses, miners, data and engine share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

import torch
from torch import Tensor

UNKNOWN = -1
"""The code of a value that is not known: it equals nothing, itself included."""


Labels = Mapping[str, tuple[Tensor, list[str]]]
"""(N,) long codes, `UNKNOWN` where a value is not known, and the names of the values, by attribute
(and for `category`)."""


@dataclass(frozen=True)
class TrainingItems:
    """What losses and miners may know of the N items of a table before training.

    Attributes:
        rows: (n,) long rows of the items that are trained on.
        product: (N,) long code of each item's product, UNKNOWN where it is not sure enough.
        caption: (N,) long code of each item's text, UNKNOWN where it has none.
        labels: codes and value names of the category and of each attribute, for all N items.
        ids: item ids of all N items.
        tiers: names of the attributes that make two items of a category a `medium`, or a `weak`
            pair (`data.tiers`).
    """

    rows: Tensor
    product: Tensor
    caption: Tensor
    labels: Labels
    ids: Sequence[str]
    tiers: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Batch(TypedDict, total=False):
    """B items. Either photos and tokens (towers that learn) or their stored features.

    Codes are positions in a sorted list of distinct values; `UNKNOWN` where there is none.
    """

    index: Tensor  # (B,) long: the row in the item table
    product: Tensor  # (B,) long: code of the product id
    caption: Tensor  # (B,) long: code of the text, UNKNOWN where the item has none
    caption_candidates: Tensor  # (B, T) long: with data.captions, codes of all the item may have
    caption_choice: Tensor  # (B,) long: the column of `caption_candidates` that `caption` is
    images: Tensor  # (B, 3, H, W) float
    tokens: Tensor  # (B, L) long
    image_features: Tensor  # (B, F) float: a tower's output before its projection
    text_features: Tensor  # (B, G) float


CODES = ("index", "product", "caption", "caption_candidates", "caption_choice")
"""What a batch holds of its items beside what the towers are shown."""


@dataclass(frozen=True)
class Relations:
    """Which columns are right and which are wrong answers for each row.

    A pair that is in neither mask is ignored: the same caption under another id, say, or an
    attribute that is unknown. No pair is in both.

    Attributes:
        positive: (B, M) bool.
        negative: (B, M) bool.
    """

    positive: Tensor
    negative: Tensor

    def to(self, device: torch.device) -> "Relations":
        """The masks on another device."""
        return Relations(self.positive.to(device), self.negative.to(device))

    def without(self, ignored: Tensor) -> "Relations":
        """The masks without some pairs, (B, M) bool."""
        return Relations(self.positive & ~ignored, self.negative & ~ignored)


class Baseline(Protocol):
    """The untrained model's embeddings of all N items: its catalog."""

    @property
    def image(self) -> Tensor:
        """(N, D), L2-normalised."""
        ...

    @property
    def text(self) -> Tensor:
        """(N, D), L2-normalised; zero where an item has no text."""
        ...
