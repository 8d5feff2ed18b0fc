"""Positive, negative and ignored pairs of a batch, by captions, by products and by values.

Pairs by how much they have in common are in `functional.tiers`.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fashret.types import GALLERY, QUERY, UNKNOWN, Batch, Relations


def equal_codes(rows: Tensor, columns: Tensor) -> Tensor:
    """Compare the codes of rows and columns.

    Args:
        rows: (B,) long codes.
        columns: (M,) long codes.

    Returns:
        (B, M) bool. `UNKNOWN` equals nothing.
    """
    no_match = torch.where(rows == UNKNOWN, UNKNOWN - 1, rows)  # a code that no column has
    return _equal(no_match, columns)


def value_relations(rows: Tensor, columns: Tensor) -> Relations:
    """Relate items by a value: positive where both are known and equal, negative where they differ.

    Args:
        rows: (B,) long codes of the value, UNKNOWN where it is not known.
        columns: (M,) long codes of the value.

    Returns:
        (B, M) masks; a pair with an unknown value is in neither.
    """
    known = (rows != UNKNOWN)[:, None] & (columns != UNKNOWN)[None, :]
    equal = equal_codes(rows, columns)
    return Relations(positive=equal, negative=known & ~equal)


def pair_relations(rows: Batch, columns: Batch, *, several_positives: bool = False) -> Relations:
    """Relate the photos of `rows` to the captions of `columns`.

    An item's own caption is its positive. Captions of other photos of the product and equal
    captions of other items are neither positive nor negative: they would be false negatives. The
    same holds for a caption that was filled from attribute values which the row's item has too. A
    column without a caption is ignored by every row, and a row without one by every column.

    Args:
        rows: a batch with `index`, `product` and `caption` of B items.
        columns: a batch with the same keys of M items.
        several_positives: the captions of a product's other photos are positives, not ignored.

    Returns:
        (B, M) masks.
    """
    same_item = _equal(rows["index"], columns["index"])
    same_product = same_item | equal_codes(rows["product"], columns["product"])
    related = equal_codes(rows["caption"], columns["caption"]).logical_or_(same_product)
    if "caption_candidates" in rows:
        same_template = rows["caption_candidates"][:, columns["caption_choice"]]  # (B, M)
        related |= same_template == columns["caption"][None, :]
    positive = same_product if several_positives else same_item
    relations = Relations(positive, related.logical_not_())
    row_has_caption, column_has_caption = (b["caption"] != UNKNOWN for b in (rows, columns))
    if bool(row_has_caption.all()) and bool(column_has_caption.all()):
        return relations
    return relations.without(~(row_has_caption[:, None] & column_has_caption[None, :]))


def product_relations(rows: Batch, columns: Batch) -> Relations:
    """Relate photos to photos by their products.

    Another photo of the product is a positive, a photo of another product a negative. A photo is
    neither to itself, and one whose product is not known is ignored: it may be of any product.
    Where photos have roles, rows are those that ask and columns those that are searched.

    Args:
        rows: a batch with `index` and `product` of B items, and `role` where the data has it.
        columns: a batch with the same keys of M items.

    Returns:
        (B, M) masks, and the products of the rows as their classes.
    """
    by_product = value_relations(rows["product"], columns["product"])
    ignored = _equal(rows["index"], columns["index"])
    if "role" in rows:
        asks, searched = rows["role"] != GALLERY, columns["role"] != QUERY
        ignored |= ~(asks[:, None] & searched[None, :])
    return replace(by_product.without(ignored), classes=rows["product"])


def _equal(rows: Tensor, columns: Tensor) -> Tensor:
    """Compare (B,) and (M,) long codes, (B, M) bool: as int32 they compare twice as fast."""
    return rows.int()[:, None] == columns.int()[None, :]
