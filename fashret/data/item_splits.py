"""Which split each item goes to: the one that its data set states, or a new one by its product."""

from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.splits import SPLITS, assign_splits
from fashret.errors import DataError


def splits_of_items(
    source: Source, items: list[Item], products: list[str | None], report: Report
) -> list[str]:
    """Find the split of each item: the one that the data set states, or a new one by product.

    Args:
        source: the source, with the shares and the seed of new splits.
        items: the items to split.
        products: product of each item; items of one product are in the same split.
        report: gets notes of lost and added splits.
    """
    groups = [
        item.split_group or product or item.item_id
        for item, product in zip(items, products, strict=True)
    ]
    stated = [item.split for item in items]
    if None in stated:
        if any(stated):
            item = items[stated.index(None)]
            raise DataError(
                f"data '{source.name}': {item.origin or item.item_id} has no split, others have "
                "one; complete the splits, or set data.stated_splits=false"
            )
        chosen = assign_splits(groups, source.splits, source.split_seed)
        splits = [chosen[group] for group in groups]
    else:
        splits = [str(split) for split in stated]
        if "validation" not in splits and "train" in splits:
            splits = _carve_validation(source, groups, splits)
            report.note(
                "the data set has no validation split: one was taken from train, by product"
            )
        for lost in sorted(report.stated_splits - set(splits)):
            report.warn(f"data '{source.name}': every item of split {lost} was dropped")
    for split in SPLITS:
        requested = None in stated and source.splits.get(split, 0.0) > 0.0
        if split not in splits and (requested or (split == "validation" and "train" in splits)):
            raise DataError(
                f"data '{source.name}' has no item in split {split}: {len(items)} items of "
                f"{len(set(groups))} products, data.splits={dict(source.splits)}"
            )
    return splits


def _carve_validation(source: Source, groups: list[str], splits: list[str]) -> list[str]:
    """Move a share of the training products to validation."""
    share = source.splits.get("validation", 0.0)
    training = [g for g, split in zip(groups, splits, strict=True) if split == "train"]
    shares = {"train": 1.0 - share, "validation": share}
    chosen = assign_splits(training, shares, source.split_seed)
    return [
        chosen[group] if split == "train" else split
        for group, split in zip(groups, splits, strict=True)
    ]
