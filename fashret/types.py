"""Types that losses, miners, data and engine share: batches, relations, training items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypedDict

import torch
from torch import Tensor

UNKNOWN = -1
"""The code of an unknown value; it matches nothing, not even another unknown value."""

QUERY, GALLERY = 0, 1
"""The codes of the roles of a photo: one that asks, and one that is searched."""


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
        role: (N,) long: `QUERY` for a photo that asks, `GALLERY` for one that is searched, UNKNOWN
            for one that may do both; None for data without roles.
        by_product: whether an item of another product is a negative whatever its attributes are.
    """

    rows: Tensor
    product: Tensor
    caption: Tensor
    labels: Labels
    ids: Sequence[str]
    tiers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    role: Tensor | None = None
    by_product: bool = False


class Batch(TypedDict, total=False):
    """A batch of B items: photos and tokens if the towers are trained, else stored features.

    A code is the position in the sorted list of distinct values; `UNKNOWN` for no value.
    """

    index: Tensor  # (B,) long: the row in the item table
    product: Tensor  # (B,) long: code of the product id
    caption: Tensor  # (B,) long: code of the text, UNKNOWN where the item has none
    role: Tensor  # (B,) long: QUERY, GALLERY, or UNKNOWN where the photo may be both
    caption_candidates: Tensor  # (B, T) long: with data.captions, codes of all the item may have
    caption_choice: Tensor  # (B,) long: the column of `caption_candidates` that `caption` is
    images: Tensor  # (B, 3, H, W) float
    tokens: Tensor  # (B, L) long
    image_features: Tensor  # (B, F) float: a tower's output before its projection
    text_features: Tensor  # (B, G) float


CODES = ("index", "product", "caption", "role", "caption_candidates", "caption_choice")
"""The keys of a batch besides the inputs of the towers."""


@dataclass(frozen=True)
class Relations:
    """The positive and the negative columns of each row of a batch's similarity matrix.

    A pair in neither mask is ignored, such as the same caption of another item, or an unknown
    attribute. No pair is in both masks.

    Attributes:
        positive: (B, M) bool: whether the column is a positive of the row.
        negative: (B, M) bool: whether the column is a negative of the row.
        weight: (B, M) float grade of each positive, above 0; None if all positives weigh the same.
        classes: (B,) long code of each row's product, UNKNOWN where it is not known, for losses
            that classify rows; None where rows have no product.
    """

    positive: Tensor
    negative: Tensor
    weight: Tensor | None = None
    classes: Tensor | None = None

    def to(self, device: torch.device) -> "Relations":
        """Return the masks on another device."""
        weight, classes = (None if t is None else t.to(device) for t in (self.weight, self.classes))
        return Relations(self.positive.to(device), self.negative.to(device), weight, classes)

    def without(self, ignored: Tensor) -> "Relations":
        """Return the masks without the pairs of a (B, M) bool mask."""
        return replace(self, positive=self.positive & ~ignored, negative=self.negative & ~ignored)


class Baseline(Protocol):
    """The catalog of the untrained model: its embeddings of all N items (an interface)."""

    @property
    def image(self) -> Tensor:
        """(N, D) image embeddings, L2-normalised."""
        ...

    @property
    def text(self) -> Tensor:
        """(N, D) text embeddings, L2-normalised; zero where an item has no text."""
        ...
