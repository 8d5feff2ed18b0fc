"""Which split each item goes to: the one that its data set states, or a new one by its product."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fashret.data.draft import Draft
from fashret.data.preparation_report import Report
from fashret.data.source import Source
from fashret.data.splits import SPLITS, assign_splits
from fashret.data.string_columns import Strings, encode
from fashret.errors import DataError


def splits_of_items(
    source: Source,
    draft: Draft,
    products: pa.Array,
    report: Report,
    *,
    without_split: str | None,
) -> NDArray[np.int8]:
    """Find the split of each item: the one that the data set states, or a new one by product.

    Args:
        source: the source, with the shares and the seed of new splits.
        draft: the items to split.
        products: the id of each item's product, null for none; items of one product are in the
            same split.
        report: gets notes of lost and added splits.
        without_split: the first item that states no split, None if all state one.

    Returns:
        (N,) number of each item's split, in the order of `SPLITS`.

    Raises:
        DataError: some items state a split and others do not, or a split is empty.
    """
    groups, names = encode(
        pc.coalesce(draft.strings("_group"), _chunked(products), draft.strings("item_id"))
    )
    stated = draft.strings("_split")
    if without_split is not None:
        if stated.null_count < len(stated):
            raise DataError(
                f"data '{source.name}': {without_split} has no split, others have "
                "one; complete the splits, or set data.stated_splits=false"
            )
        splits = assign_splits(Strings(names), source.splits, source.split_seed)[groups]
    else:
        splits = pc.index_in(stated, value_set=pa.array(SPLITS)).to_numpy().astype(np.int8)
        if _TRAIN in splits and _VALIDATION not in splits:
            splits = _carve_validation(source, groups, names, splits)
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
                f"{len(names)} products, data.splits={dict(source.splits)}"
            )
    return splits


_TRAIN, _VALIDATION = SPLITS.index("train"), SPLITS.index("validation")


def _carve_validation(
    source: Source, groups: NDArray[np.int64], names: pa.Array, splits: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Move a share of the training products to validation."""
    share = source.splits.get("validation", 0.0)
    training, place = np.unique(groups[splits == _TRAIN], return_inverse=True)
    shares = {"train": 1.0 - share, "validation": share}
    chosen = assign_splits(Strings(names.take(pa.array(training))), shares, source.split_seed)
    carved = splits.copy()
    carved[splits == _TRAIN] = chosen[place]
    return carved


def _chunked(strings: pa.Array) -> pa.ChunkedArray:
    return pa.chunked_array([strings])
