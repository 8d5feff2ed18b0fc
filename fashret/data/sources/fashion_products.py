"""Fashion Product Images (Kaggle): styles.csv and images/<id>.jpg."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fashret.data.on_disk import OnDisk
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.data.unknown_values import UNKNOWN_VALUES
from fashret.errors import DataError

_COLUMNS = (
    "id",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "productDisplayName",
)
_ATTRIBUTES = {
    "colour": "baseColour",
    "gender": "gender",
    "usage": "usage",
    "season": "season",
    "sub_category": "subCategory",
}


@dataclass(kw_only=True)
class FashionProducts(OnDisk):
    """Catalog photos with a title, an article type and five attributes.

    The category is the article type. The product is the id; rows with an equal title and equal
    photo bytes are one product, and rows with equal titles stay in one split. `NA` is a value of
    the set, not a missing number: a colour, usage or title of `NA` is kept like any other.
    """

    name: str = "fashion_products"
    attributes: Sequence[str] = (
        "colour",
        "gender",
        "usage",
        "season",
        "sub_category",
        "pattern",
    )
    address: ClassVar[str] = (
        "https://www.kaggle.com/datasets/paramaggarwal/fashion-product-images-small"
    )
    layout: ClassVar[str] = "styles.csv and images/<id>.jpg"
    photos: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("styles.csv",)

    unknown_values: Sequence[str] = tuple(value for value in UNKNOWN_VALUES if value != "na")

    def items(self, report: Report) -> Iterator[Item]:
        """A row an item; commas that the last field does not quote are put back."""
        root, path = self.folder(), self.file("styles.csv")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if tuple(header) != _COLUMNS:
                raise DataError(
                    f"{path} has the columns {', '.join(header)}; "
                    f"expected are {', '.join(_COLUMNS)}"
                )
            for fields in reader:
                report.rows_in += 1
                where = f"{path.name} line {reader.line_num}"
                if len(fields) < len(_COLUMNS):
                    report.drop("too few fields", f"{where}: {len(fields)}")
                    continue
                if len(fields) > len(_COLUMNS):
                    report.repair("unquoted commas in productDisplayName", where)
                    last = len(_COLUMNS) - 1
                    fields = [*fields[:last], ",".join(fields[last:])]
                yield self._item(dict(zip(_COLUMNS, fields, strict=True)), root, where, report)

    def join_key(self, item: Item) -> str | None:
        """Items of one title and one photo are a product."""
        return item.split_group

    def _item(self, row: dict[str, str], root: Path, where: str, report: Report) -> Item:
        title = row["productDisplayName"]
        for name, column in _ATTRIBUTES.items():
            if not row[column].strip():
                report.repair(f"empty {name}: unknown", where)
        return Item(
            item_id=row["id"],
            image=root / "images" / f"{row['id']}.jpg",
            text=title,
            category=row["articleType"],
            product_id=row["id"],
            attributes={name: row[column].strip() for name, column in _ATTRIBUTES.items()},
            split_group=" ".join(title.lower().split()) or row["id"],
            origin=where,
        )
