"""Which split each item goes to: the one that its data set states, or a new one by its product."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fashret.data.draft import Draft
from fashret.data.preparation_report import Report
from fashret.data.product_grouping import Products
from fashret.data.source import Source
from fashret.data.splits import SPLITS, assign_splits, group_hashes
from fashret.errors import DataError

_TRAIN, _VALIDATION = SPLITS.index("train"), SPLITS.index("validation")

_READ = 65_536
"""Names of groups that are read at a time."""


def splits_of_items(
    source: Source,
    draft: Draft,
    products: Products,
    report: Report,
    *,
    without_split: str | None,
) -> NDArray[np.int8]:
    """Find the split of each item: the one that the data set states, or a new one by product.

    Args:
        source: the source, with the shares and the seed of new splits.
        draft: the items to split.
        products: the product of each item; items of one product are in the same split.
        report: gets notes of lost and added splits.
        without_split: the first item that states no split, None if all state one.

    Returns:
        (N,) number of each item's split, in the order of `SPLITS`.

    Raises:
        DataError: some items state a split and others do not, or a split is empty.
    """
    stated = draft.strings("_split")
    hashes = np.empty(0, dtype=np.uint64)
    if without_split is not None:
        if stated.null_count < len(stated):
            raise DataError(
                f"data '{source.name}': {without_split} has no split, others have "
                "one; complete the splits, or set data.stated_splits=false"
            )
        hashes = group_hashes(_groups(draft, products), source.split_seed, len(draft))
        splits = assign_splits(hashes, source.splits)
    else:
        splits = pc.index_in(stated, value_set=pa.array(SPLITS)).to_numpy().astype(np.int8)
        if _TRAIN in splits and _VALIDATION not in splits:
            hashes = group_hashes(_groups(draft, products), source.split_seed, len(draft))
            share = source.splits.get("validation", 0.0)
            training = splits == _TRAIN
            shares = {"train": 1.0 - share, "validation": share}
            splits[training] = assign_splits(hashes[training], shares)
            report.note(
                "the data set has no validation split: one was taken from train, by product"
            )
        present = {SPLITS[split] for split in np.unique(splits)}
        for lost in sorted(report.stated_splits - present):
            report.warn(f"data '{source.name}': every item of split {lost} was dropped")
    for number, split in enumerate(SPLITS):
        requested = without_split is not None and source.splits.get(split, 0.0) > 0.0
        required = requested or (split == "validation" and _TRAIN in splits)
        if required and number not in splits:
            raise DataError(
                f"data '{source.name}' has no item in split {split}: {len(draft)} items of "
                f"{len(np.unique(hashes))} products, data.splits={dict(source.splits)}"
            )
    return splits


def _groups(draft: Draft, products: Products) -> Iterator[str]:
    """The name of each item's group: that of the data set, its product, or the item itself."""
    columns = draft.strings("_group"), draft.strings("item_id")
    for start in range(0, len(draft), _READ):
        stated, ids = (column.slice(start, _READ).combine_chunks() for column in columns)
        named = products.column(slice(start, start + _READ))
        yield from pc.coalesce(stated, named, ids).to_pylist()
