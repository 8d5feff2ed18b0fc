"""What a prepared data set holds and what is suspicious in it, in words."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashret.data.items import ItemTable
from fashret.data.languages import languages

_SAMPLE = 500
"""Texts whose language is looked at."""

_COMMON = 3
"""Values of an attribute that are named."""

_REPEATED = 0.01
"""A text that more than this share of the items have describes none of them."""

_FEW = 100
"""Queries below which an interval is wide."""


@dataclass(frozen=True)
class Overview:
    """Lines of text under headings.

    Attributes:
        sections: the lines by heading.
    """

    sections: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return self.wrapped(0)

    def wrapped(self, width: int) -> str:
        """The lines under their headings, broken at so many columns; 0 breaks none."""
        shown = []
        for heading, lines in self.sections.items():
            if lines:
                shown.append(heading)
            for line in lines:
                broken = (
                    textwrap.wrap(
                        line, max(20, width - 4), break_long_words=False, break_on_hyphens=False
                    )
                    if width
                    else [line]
                )
                shown += [f"  {broken[0]}", *(f"    {rest}" for rest in broken[1:])]
        return "\n".join(shown)


def describe_table(table: ItemTable) -> dict[str, Sequence[str]]:
    """Describe a prepared data set: how it was read, items, texts, attributes, what to look at.

    Args:
        table: the prepared items.
    """
    report = table.report
    counted = [f"{count} dropped: {why}" for why, count in report["dropped"].items()]
    counted += [f"{count} repaired: {why}" for why, count in report["repaired"].items()]
    read = [f"{report['rows_in']:,} rows read, {report['rows_kept']:,} items kept", *counted]
    hidden = ("splits: ", *(f"{name} is known for" for name in table.attributes))
    read += [note for note in report["notes"] if not note.startswith(hidden)]
    return {
        "As it was read": read,
        "Items": list(_items(table)),
        "Texts": list(_texts(table)),
        "Attributes": [_attribute(table, name) for name in table.categorical_columns],
        "To look at": list(suspicions(table)),
    }


def _items(table: ItemTable) -> Iterator[str]:
    splits = ", ".join(f"{split} {len(table.rows(split)):,}" for split in table.splits)
    yield f"{len(table):,} items ({splits}) with {len(np.unique(table.photo_codes)):,} photos"
    products = table.products()
    sizes = _sizes(products)
    if not len(sizes):
        yield "no item has a product: no photo is known to show what another one shows"
        return
    several = int((sizes > 1).sum())
    yield (
        f"{len(sizes):,} products, {several:,} of them with several items (at most "
        f"{int(sizes.max())}); {int((products < 0).sum()):,} items without a product"
    )


def _texts(table: ItemTable) -> Iterator[str]:
    codes, texts = table.text_codes()
    known = int((codes >= 0).sum())
    if not known:
        yield "no item has a text: only photos can be searched, and learned from"
        return
    some = np.random.default_rng(0).permutation(len(texts))[:_SAMPLE]
    read = [texts[place] for place in some.tolist()]
    words = float(np.median([len(text.split()) for text in read]))
    yield (
        f"{known:,} of {len(table):,} items have a text, {len(texts):,} different ones, of "
        f"{words:.0f} words (median)"
    )
    found = ", ".join(f"{name} ({share:.0%})" for name, share in languages(read).items())
    yield f"languages of {len(read)} of them: {found or 'not clear'}"


def _attribute(table: ItemTable, name: str) -> str:
    codes, values = table.codes(name)
    known = codes[codes >= 0]
    if not len(known):
        return f"{name}: not known for any item"
    counts = np.bincount(known)
    first = np.argsort(-counts, kind="stable")[:_COMMON]
    common = ", ".join(f"{values[code]} {counts[code] / len(known):.0%}" for code in first)
    return (
        f"{name}: known for {len(known) / len(table):.0%}, {len(values)} values, "
        f"most often {common}"
    )


def suspicions(table: ItemTable) -> Iterator[str]:
    """Describe what is likely a mistake in the data, or makes a result say little.

    Args:
        table: the prepared items.
    """
    report = table.report
    for name in table.categorical_columns:
        codes, values = table.codes(name)
        if len(values) == 1 and len(table) > 1:
            yield f"{name}: all items of which it is known have one value, {values[0]}"
    codes, values = table.codes("category")
    single = [values[code] for code in np.flatnonzero(np.bincount(codes[codes >= 0]) == 1)]
    if single:
        yield f"{len(single)} categories have one item: {_some(single)}"
    codes, texts = table.text_codes()
    counts = np.bincount(codes[codes >= 0]) if (codes >= 0).any() else np.zeros(0, dtype=int)
    often = np.flatnonzero((counts > 1) & (counts > _REPEATED * len(table)))
    if len(often):
        most = int(often[np.argmax(counts[often])])
        yield (
            f"{len(often)} texts are those of many items, such as {_short(texts[most])} of "
            f"{counts[most]}: to a query by it all of them are right"
        )
    if duplicates := report["dropped"].get("duplicate item_id"):
        yield f"{duplicates} rows have the id of a row before: data.columns.item_id may be another"
    copies = report["photo_copies"]
    if copies.get("across_products"):
        yield f"{copies['across_products']} items show a photo of another product"
    for split, count in copies.get("across_splits", {}).items():
        yield f"{count} photos of {split} are also in another split"
    for split in table.splits:
        if split != "train" and len(table.rows(split)) < _FEW:
            yield f"{split} has {len(table.rows(split))} items: intervals will be wide"
        within = _sizes(table.products()[table.rows(split)])
        if split != "train" and len(within) and not (within > 1).any():
            yield f"no product has two photos in {split}: product metrics have no query there"
    for name, counted in report["disagreements"].items():
        if total := sum(counted.values()):
            yield f"{name}: the texts of {total} items state another value than the data"


def _sizes(products: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of items of each product that is there."""
    return np.unique(products[products >= 0], return_counts=True)[1]


def _short(text: str) -> str:
    return f"'{text}'" if len(text) <= 50 else f"'{text[:47]}...'"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
