"""index.html of a prepared data set: its values, suspected errors, and a file to correct them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.data.overrides import DROP, FIELDS, Overrides
from fashret.data.product_grouping import STATED
from fashret.data.source import Source
from fashret.errors import ConfigError
from fashret.functional.topk import Excluded, topk
from fashret.reports.atomic_write import write_text
from fashret.reports.item_cards import item_facts, thumbnails
from fashret.reports.web import render

_PHOTOS_PER_PRODUCT = 12
_MAX_CATEGORIES = 40


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of very similar photos that are not known to be of one product.

    Attributes:
        pairs: (P, 2) rows of the item table, the most similar pair first.
        cosines: (P,) cosine similarities.
    """

    pairs: NDArray[np.int64]
    cosines: NDArray[np.float64]

    @classmethod
    def find(cls, image: Tensor, product: NDArray[np.int64], min_cosine: float) -> "NearDuplicates":
        """Find near duplicates among the nearest neighbours of each photo.

        Args:
            image: (N, D) float image embeddings, L2-normalised.
            product: (N,) product codes, -1 for unknown; pairs of one product are skipped.
            min_cosine: the minimum cosine similarity of a pair.
        """
        self_idx = torch.arange(len(image))
        ranking = topk(image, image, min(5, len(image) - 1), exclude=Excluded(self_idx, self_idx))
        rows, scores = ranking.rows.numpy(), ranking.scores.numpy()
        first = np.repeat(np.arange(len(rows)), rows.shape[1])
        pairs = np.stack([first, rows.ravel()], axis=1)
        same_product = (product[pairs[:, 0]] == product[pairs[:, 1]]) & (product[pairs[:, 0]] >= 0)
        kept = (scores.ravel() >= min_cosine) & ~same_product
        pairs, first_idx = np.unique(np.sort(pairs[kept], axis=1), axis=0, return_index=True)
        cosines = scores.ravel()[kept][first_idx]
        order = np.argsort(-cosines, kind="stable")
        return cls(pairs[order], cosines[order])


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The page of a prepared data set (`view`).

    Args:
        examples: the number of photos for each value, and for each disagreement.
        values: the number of values of an attribute, the most common first, and of disagreements.
        pairs: the number of suspected duplicates.
        products: the number of products to audit, the least certain first.
        alike: the cosine similarity of image embeddings, -1 to 1, from which two photos are
            suspected to show one product; null searches for none.
        thumbnail: pixels of a photo's longer side, 16 to 512.
        seed: the seed of the choice.
    """

    examples: int
    values: int
    pairs: int
    products: int
    alike: float | None
    thumbnail: int
    seed: int

    def __post_init__(self) -> None:
        if min(self.examples, self.values, self.pairs, self.products) < 0:
            raise ConfigError("view: examples, values, pairs and products must be at least 0")
        if not 16 <= self.thumbnail <= 512:
            raise ConfigError(f"view.thumbnail={self.thumbnail}: must be 16 to 512 (pixels)")
        if self.alike is not None and not -1.0 <= self.alike <= 1.0:
            raise ConfigError(f"view.alike={self.alike}: must be a cosine, -1 to 1, or null")

    def write(
        self, folder: Path, table: ItemTable, source: Source, near_duplicates: NearDuplicates | None
    ) -> Path:
        """Write index.html and overrides.csv, and return the page's path.

        The CSV contains the existing corrections, and an empty line for each suspected item.

        Args:
            folder: the folder to write to.
            table: the items.
            source: the data source, with its corrections.
            near_duplicates: the suspected duplicates; None if they were not searched.
        """
        overrides = Overrides.from_source(source)
        disagreements = self._disagreements(table, source, overrides)
        products = self._products(table)
        pairs = [] if near_duplicates is None else near_duplicates.pairs[: self.pairs].tolist()
        shown = _PageItems()
        data: dict[str, Any] = {
            "fields": [DROP, *FIELDS, *table.attributes],
            "corrections": {item: dict(row) for item, row in overrides.rows.items()},
            "values": {
                name: [
                    {"value": value, "count": count, "items": shown.positions(rows)}
                    for value, count, rows in self._values(table, name)
                ]
                for name in table.categorical_columns
            },
            "disagreements": [
                {
                    "name": name,
                    "said": said,
                    "count": len(rows),
                    "items": shown.positions(rows[: self.examples]),
                }
                for (name, said), rows in disagreements
            ],
            "lookalikes": [
                {"cosine": round(float(cosine), 4), "items": shown.positions(pair)}
                for pair, cosine in zip(
                    pairs, near_duplicates.cosines if near_duplicates else (), strict=False
                )
            ],
            "products": [
                {
                    "name": name,
                    "confidence": confidence,
                    "count": len(rows),
                    "items": shown.positions(rows[:_PHOTOS_PER_PRODUCT]),
                }
                for name, confidence, rows in products
            ],
        }
        doubtful = [row for _, rows in disagreements for row in rows[: self.examples]]
        doubtful += [row for pair in pairs for row in pair]
        doubtful += [row for _, confidence, rows in products if confidence < STATED for row in rows]
        _write_csv(folder / "overrides.csv", table, overrides, doubtful)
        page = render(
            "data.html",
            title=f"{source.name}: {len(table)} items",
            report=table.report,
            coverage=_coverage(table.report["coverage"], _MAX_CATEGORIES),
            suspected=None if near_duplicates is None else len(near_duplicates.pairs),
            alike=self.alike,
            data=data | {"items": item_facts(table, shown.rows)},
            photos=thumbnails(table, shown.rows, self.thumbnail),
        )
        write_text(folder / "index.html", page)
        return folder / "index.html"

    def _values(self, table: ItemTable, name: str) -> list[tuple[str, int, list[int]]]:
        """The most common values: the value, its number of items, and example rows."""
        codes, values = table.codes(name)
        rng = np.random.default_rng(self.seed)
        common = []
        for code, count in Counter(codes[codes >= 0].tolist()).most_common(self.values):
            rows = np.flatnonzero(codes == code)
            some = rng.choice(rows, min(self.examples, len(rows)), replace=False)
            common.append((values[code], count, np.sort(some).tolist()))
        return common

    def _disagreements(
        self, table: ItemTable, source: Source, overrides: Overrides
    ) -> list[tuple[tuple[str, str], list[int]]]:
        """Rows whose stated value differs from that in their text, by attribute and values."""
        schema = source.parser
        if schema is None:
            return []
        columns = {
            name: table.column(name) for name in (*table.categorical_columns, "text", "item_id")
        }
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for row in range(len(table)):
            from_text = schema.read(columns["text"][row] or "", columns["category"][row])
            for name in table.attributes:
                stated, read = columns[name][row], from_text.get(name)
                if read is None or stated == "unknown":
                    continue
                if name in overrides.rows.get(columns["item_id"][row], ()):
                    continue
                if schema.value(name, stated) not in (None, read):
                    found[name, f"stated {stated}, the text says {read}"].append(row)
        return sorted(found.items(), key=lambda pair: -len(pair[1]))[: self.values]

    def _products(self, table: ItemTable) -> list[tuple[str, float, list[int]]]:
        """Products with several photos, the least certain first: name, confidence, rows."""
        codes, names = table.codes("product_id")
        known = np.flatnonzero(codes >= 0)
        ordered = known[np.argsort(codes[known], kind="stable")]
        groups = np.split(ordered, np.flatnonzero(np.diff(codes[ordered])) + 1)
        several = [rows for rows in groups if len(rows) > 1]
        rng = np.random.default_rng(self.seed)
        confidence = table.confidence
        mixed = [several[i] for i in rng.permutation(len(several))]
        mixed.sort(key=lambda rows: float(confidence[rows].min()))
        return [
            (names[codes[rows[0]]], round(float(confidence[rows].min()), 3), rows.tolist())
            for rows in mixed[: self.products]
        ]


class _PageItems:
    """The rows of the table that a page shows, each once."""

    def __init__(self) -> None:
        self._positions: dict[int, int] = {}

    def positions(self, rows: Sequence[int]) -> list[int]:
        """Add rows to the page, and return their positions on it."""
        return [self._positions.setdefault(row, len(self._positions)) for row in rows]

    @property
    def rows(self) -> list[int]:
        """The rows in the order of their positions."""
        return list(self._positions)


def _write_csv(path: Path, table: ItemTable, overrides: Overrides, doubtful: list[int]) -> None:
    """Write the existing corrections, and an empty line for each doubtful row."""
    ids = table.column("item_id")
    lines: dict[str, Mapping[str, str]] = {ids[row]: {} for row in doubtful}
    lines |= overrides.rows
    frame = pd.DataFrame(
        [{"item_id": item, **cells} for item, cells in lines.items()],
        columns=["item_id", DROP, *FIELDS, *table.attributes],
    )
    write_text(path, frame.to_csv(index=False))


def _coverage(
    counted: Mapping[str, Mapping[str, Sequence[int]]], max_categories: int
) -> list[dict[str, Any]]:
    """One line per category, the largest first: name, items, known share by attribute."""
    sizes: Counter[str] = Counter()
    for of in counted.values():
        for category, (_, items) in of.items():
            sizes[category] = items
    lines = [("all", sum(sizes.values()), list(sizes))]
    lines += [
        (category, items, [category]) for category, items in sizes.most_common(max_categories)
    ]
    return [
        {
            "category": category,
            "items": items,
            "known": {
                name: sum(of[c][0] for c in members if c in of) / max(1, items)
                for name, of in counted.items()
            },
        }
        for category, items, members in lines
    ]
