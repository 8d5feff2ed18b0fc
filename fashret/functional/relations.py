"""Which pairs of a batch are right, wrong, or neither: the one place that decides it."""

import torch
from torch import Tensor

from fashret.types import UNKNOWN, Batch, Relations


def equal_codes(rows: Tensor, columns: Tensor) -> Tensor:
    """Whether two codes are known and equal.

    Args:
        rows: (B,) long.
        columns: (M,) long.

    Returns:
        (B, M) bool. `UNKNOWN` equals nothing.
    """
    apart = torch.where(rows == UNKNOWN, UNKNOWN - 1, rows)  # which no column is
    return _equal(apart, columns)


def value_relations(rows: Tensor, columns: Tensor) -> Relations:
    """Positive where a value is known of both and equal, negative where it is known and not equal.

    Args:
        rows: (B,) long codes.
        columns: (M,) long codes.

    Returns:
        Masks of (B, M).
    """
    known = (rows != UNKNOWN)[:, None] & (columns != UNKNOWN)[None, :]
    equal = equal_codes(rows, columns)
    return Relations(positive=equal, negative=known & ~equal)


def pair_relations(rows: Batch, columns: Batch, *, several_positives: bool = False) -> Relations:
    """How the photos of `rows` relate to the captions of `columns`.

    An item's own caption is its positive. Other photos of the product and other items with an
    equal caption are neither positive nor negative: they would be false negatives. The same holds
    for a caption of a column that was made of attributes which the row's item has too. A column
    without a caption is ignored by every row, and a row without one by every column.

    Args:
        rows: a batch with `index`, `product` and `caption` of B items.
        columns: the same of M items.
        several_positives: whether the captions of a product's other photos are right, not ignored.

    Returns:
        Masks of (B, M).
    """
    own = _equal(rows["index"], columns["index"])
    mates = own | equal_codes(rows["product"], columns["product"])
    related = equal_codes(rows["caption"], columns["caption"]).logical_or_(mates)
    if "statements" in rows:
        same_statement = rows["statements"][:, columns["stated"]]  # (B, M)
        related |= same_statement == columns["caption"][None, :]
    relations = Relations(mates if several_positives else own, related.logical_not_())
    told = rows["caption"] != UNKNOWN, columns["caption"] != UNKNOWN
    if all(bool(known.all()) for known in told):
        return relations
    return relations.without(~(told[0][:, None] & told[1][None, :]))


def _equal(rows: Tensor, columns: Tensor) -> Tensor:
    """(B, M) bool of (B,) and (M,) long: half as wide, they are compared twice as fast."""
    return rows.int()[:, None] == columns.int()[None, :]
