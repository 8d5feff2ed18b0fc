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
class JudgedQueries:
    """Q queries that are not items, with the P judgments of items for them.

    A query is a typed text (a search log), or a reference photo with a text that says how the
    wanted item differs from it (composed retrieval).

    Attributes:
        texts: the Q texts.
        splits: the split of each query, "" for a query of every split.
        query: (P,) long query of each judgment, ascending.
        row: (P,) long row of the judged item in the item table.
        grade: (P,) float64 grade, at most 1 for the best item of a query; 0 is judged irrelevant.
        frequency: (Q,) float64: how often each query was asked.
        position: (Q,) long position of each query among all queries of the data.
        reference: (Q,) long rows of the reference photos; None for typed texts.
        embedding: (Q, D) float embeddings by the untrained model; None where nothing needs them.
        notes: what was left out of the judgments, and why.
    """

    texts: Sequence[str]
    splits: Sequence[str]
    query: Tensor
    row: Tensor
    grade: Tensor
    frequency: Tensor
    position: Tensor
    reference: Tensor | None = None
    embedding: Tensor | None = None
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def within(self, split: str | None, rows: Tensor) -> "JudgedQueries":
        """Keep the queries of a split that have a relevant item among some rows.

        Args:
            split: the split; None keeps the queries of all.
            rows: (n,) long rows of the item table; judgments of other items, and queries whose
                reference photo is not among them, are left out.
        """
        kept = torch.tensor([split is None or name in ("", split) for name in self.splits])
        if self.reference is not None:
            kept &= torch.isin(self.reference, rows)
        judged = torch.isin(self.row, rows) & kept[self.query]
        return self._of(self.query[judged & (self.grade > 0)].unique(), judged)

    def some(self, chosen: Tensor) -> "JudgedQueries":
        """Keep only some of the queries, by their (q,) long positions, ascending."""
        return self._of(chosen, torch.ones(len(self.query), dtype=torch.bool))

    def _of(self, chosen: Tensor, judged: Tensor) -> "JudgedQueries":
        """Keep some queries, and those of their judgments that a (P,) bool mask allows."""
        judged = judged & torch.isin(self.query, chosen)
        reference, embedding = (
            None if part is None else part[chosen] for part in (self.reference, self.embedding)
        )
        return JudgedQueries(
            [self.texts[i] for i in chosen.tolist()],
            [self.splits[i] for i in chosen.tolist()],
            torch.searchsorted(chosen, self.query[judged]),
            self.row[judged],
            self.grade[judged],
            self.frequency[chosen],
            self.position[chosen],
            reference,
            embedding,
            self.notes,
        )


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
        queries: judged queries by the task that trains on them: search_log, composed.
        mines_items: whether a task's queries are items, for which hard negatives are mined.
    """

    rows: Tensor
    product: Tensor
    caption: Tensor
    labels: Labels
    ids: Sequence[str]
    tiers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    role: Tensor | None = None
    by_product: bool = False
    queries: Mapping[str, JudgedQueries] = field(default_factory=dict)
    mines_items: bool = True


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
    query: Tensor  # (Q,) long: code of each judged query; the first Q items are its answers
    reference: Tensor  # (Q,) long: position in this batch of each composed query's photo
    asked: Tensor  # (B,) long: code of the query that an item is the answer of, UNKNOWN for none
    images: Tensor  # (B, 3, H, W) float
    tokens: Tensor  # (B, L) long
    image_features: Tensor  # (B, F) float: a tower's output before its projection
    text_features: Tensor  # (B, G) float
    query_tokens: Tensor  # (Q, L) long
    query_features: Tensor  # (Q, G) float


CODES = (
    "index", "product", "caption", "role", "caption_candidates", "caption_choice", "query", "asked",
)  # fmt: skip
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
