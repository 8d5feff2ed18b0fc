"""index.html of a prepared set: what is in it, what is doubtful, and a way to correct it."""

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
from fashret.reports.files import write_text
from fashret.reports.item_cards import item_facts, thumbnails
from fashret.reports.web import render

_OF_A_PRODUCT = 12
_CATEGORIES = 40


@dataclass(frozen=True)
class Lookalikes:
    """Photos of different products that a model takes for one another.

    Attributes:
        pairs: (P, 2) rows, the most alike first.
        cosines: (P,).
    """

    pairs: NDArray[np.int64]
    cosines: NDArray[np.float64]

    @classmethod
    def among(cls, image: Tensor, product: NDArray[np.int64], least: float) -> "Lookalikes":
        """Each photo and its nearest, where they are of different or unknown products.

        Args:
            image: (N, D) float, unit rows.
            product: (N,) codes, -1 for unknown.
            least: the cosine from which photos are suspected.
        """
        own = torch.arange(len(image))
        ranking = topk(image, image, min(5, len(image) - 1), exclude=Excluded(own, own))
        rows, scores = ranking.rows.numpy(), ranking.scores.numpy()
        first = np.repeat(np.arange(len(rows)), rows.shape[1])
        pairs = np.stack([first, rows.ravel()], axis=1)
        one = (product[pairs[:, 0]] == product[pairs[:, 1]]) & (product[pairs[:, 0]] >= 0)
        kept = (scores.ravel() >= least) & ~one
        pairs, at = np.unique(np.sort(pairs[kept], axis=1), axis=0, return_index=True)
        cosines = scores.ravel()[kept][at]
        order = np.argsort(-cosines, kind="stable")
        return cls(pairs[order], cosines[order])


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """How much of a set is shown.

    Args:
        examples: photos for each value, and for each disagreement.
        values: of an attribute, the commonest; and disagreements of one.
        pairs: suspected duplicates.
        products: to audit, the least sure first, then any.
        alike: cosine of the model's image embeddings from which two photos are suspected to be of
            one product; null looks for none.
        thumbnail: pixels of a photo's longer side.
        seed: of the choice.
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
            raise ConfigError(f"view.thumbnail is {self.thumbnail}: 16 to 512 pixels")
        if self.alike is not None and not -1.0 <= self.alike <= 1.0:
            raise ConfigError(f"view.alike is {self.alike}: a cosine, or null")

    def write(
        self, folder: Path, table: ItemTable, source: Source, lookalikes: Lookalikes | None
    ) -> Path:
        """Write index.html and overrides.csv; give the page's path.

        The CSV holds the corrections that there are, and a line to fill in for each item that the
        page suspects.
        """
        overrides = Overrides.from_source(source)
        disagreements = self._disagreements(table, source, overrides)
        products = self._products(table)
        pairs = [] if lookalikes is None else lookalikes.pairs[: self.pairs].tolist()
        shown = _Places()
        data: dict[str, Any] = {
            "fields": [DROP, *FIELDS, *table.attributes],
            "corrections": {item: dict(row) for item, row in overrides.rows.items()},
            "values": {
                name: [
                    {"value": value, "count": count, "items": shown.of(rows)}
                    for value, count, rows in self._values(table, name)
                ]
                for name in table.categorical_columns
            },
            "disagreements": [
                {
                    "name": name,
                    "said": said,
                    "count": len(rows),
                    "items": shown.of(rows[: self.examples]),
                }
                for (name, said), rows in disagreements
            ],
            "lookalikes": [
                {"cosine": round(float(cosine), 4), "items": shown.of(pair)}
                for pair, cosine in zip(
                    pairs, lookalikes.cosines if lookalikes else (), strict=False
                )
            ],
            "products": [
                {
                    "name": name,
                    "confidence": confidence,
                    "count": len(rows),
                    "items": shown.of(rows[:_OF_A_PRODUCT]),
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
            coverage=_coverage(table.report["coverage"], _CATEGORIES),
            suspected=None if lookalikes is None else len(lookalikes.pairs),
            alike=self.alike,
            data=data | {"items": item_facts(table, shown.rows)},
            photos=thumbnails(table, shown.rows, self.thumbnail),
        )
        write_text(folder / "index.html", page)
        return folder / "index.html"

    def _values(self, table: ItemTable, name: str) -> list[tuple[str, int, list[int]]]:
        """The commonest values, how many items have each, and some of these."""
        codes, values = table.codes(name)
        rng = np.random.default_rng(self.seed)
        found = []
        for code, count in Counter(codes[codes >= 0].tolist()).most_common(self.values):
            rows = np.flatnonzero(codes == code)
            some = rng.choice(rows, min(self.examples, len(rows)), replace=False)
            found.append((values[code], count, np.sort(some).tolist()))
        return found

    def _disagreements(
        self, table: ItemTable, source: Source, overrides: Overrides
    ) -> list[tuple[tuple[str, str], list[int]]]:
        """Rows whose set states one value and whose text another, by attribute and values."""
        schema = source.parser
        if schema is None:
            return []
        columns = {
            name: table.column(name) for name in (*table.categorical_columns, "text", "item_id")
        }
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for row in range(len(table)):
            said = schema.read(columns["text"][row] or "", columns["category"][row])
            for name in table.attributes:
                stated, read = columns[name][row], said.get(name)
                if read is None or stated == "unknown":
                    continue
                if name in overrides.rows.get(columns["item_id"][row], ()):
                    continue
                if schema.value(name, stated) not in (None, read):
                    found[name, f"stated {stated}, the text says {read}"].append(row)
        return sorted(found.items(), key=lambda pair: -len(pair[1]))[: self.values]

    def _products(self, table: ItemTable) -> list[tuple[str, float, list[int]]]:
        """Products of several photos: name, confidence, rows."""
        codes, names = table.codes("product_id")
        known = np.flatnonzero(codes >= 0)
        ordered = known[np.argsort(codes[known], kind="stable")]
        groups = np.split(ordered, np.flatnonzero(np.diff(codes[ordered])) + 1)
        several = [rows for rows in groups if len(rows) > 1]
        rng = np.random.default_rng(self.seed)
        sure = table.confidence
        mixed = [several[i] for i in rng.permutation(len(several))]
        mixed.sort(key=lambda rows: float(sure[rows].min()))
        return [
            (names[codes[rows[0]]], round(float(sure[rows].min()), 3), rows.tolist())
            for rows in mixed[: self.products]
        ]


class _Places:
    """The rows that a page shows, each once."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}

    def of(self, rows: Sequence[int]) -> list[int]:
        """The places of rows on the page."""
        return [self._places.setdefault(row, len(self._places)) for row in rows]

    @property
    def rows(self) -> list[int]:
        """The rows by place."""
        return list(self._places)


def _write_csv(path: Path, table: ItemTable, overrides: Overrides, doubtful: list[int]) -> None:
    """Write the corrections that there are, and an empty line for each doubtful row."""
    ids = table.column("item_id")
    lines: dict[str, Mapping[str, str]] = {ids[row]: {} for row in doubtful}
    lines |= overrides.rows
    frame = pd.DataFrame(
        [{"item_id": item, **cells} for item, cells in lines.items()],
        columns=["item_id", DROP, *FIELDS, *table.attributes],
    )
    write_text(path, frame.to_csv(index=False))


def _coverage(
    counted: Mapping[str, Mapping[str, Sequence[int]]], most: int
) -> list[dict[str, Any]]:
    """A line a category, the largest first: its name, items, and known share by attribute."""
    sizes: Counter[str] = Counter()
    for of in counted.values():
        for category, (_, items) in of.items():
            sizes[category] = items
    lines = [("all", sum(sizes.values()), list(sizes))]
    lines += [(category, items, [category]) for category, items in sizes.most_common(most)]
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
