"""Which pairs of a batch are right, wrong, or neither: the one place that decides it."""

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
    return (rows[:, None] == columns[None, :]) & (rows[:, None] != UNKNOWN)


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
    captioned = (rows["caption"] != UNKNOWN)[:, None] & (columns["caption"] != UNKNOWN)[None, :]
    own = rows["index"][:, None] == columns["index"][None, :]
    mates = own | equal_codes(rows["product"], columns["product"])
    related = mates | equal_codes(rows["caption"], columns["caption"])
    if "statements" in rows:
        same_statement = rows["statements"][:, columns["stated"]]  # (B, M)
        related |= same_statement == columns["caption"][None, :]
    positive = mates if several_positives else own
    return Relations(positive=positive & captioned, negative=~related & captioned)
