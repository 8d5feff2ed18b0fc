"""H&M Personalized Fashion Recommendations (Kaggle): articles.csv and images/."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from fashret.data.on_disk import OnDisk
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.errors import DataError

_ATTRIBUTES = {
    "colour": "colour_group_name",
    "pattern": "graphical_appearance_name",
    "gender": "index_group_name",
}
_NEEDED = ("article_id", "product_code", "prod_name", "product_type_name", "detail_desc")
_WOMEN_MEN = {"ladieswear": "women", "divided": "women", "menswear": "men"}
_SIZE = 105_542


@dataclass(kw_only=True)
class HM(OnDisk):
    """Articles with a name, a description, a type and three attributes.

    The product is the product code: an article is one colour of it. Ids begin with 0 and are
    text. Colour and pattern are the set's words, by the schema's name where it has one.
    """

    name: str = "hm"
    address: ClassVar[str] = (
        "https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations/data"
    )
    layout: ClassVar[str] = "articles.csv and images/<first three digits>/<article_id>.jpg"
    photos: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("articles.csv",)

    def items(self, report: Report) -> Iterator[Item]:
        """A row an item."""
        root, path = self.folder(), self.file("articles.csv")
        count = 0
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = {*_NEEDED, *_ATTRIBUTES.values()} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path} has no column {', '.join(sorted(missing))}")
            for row in reader:
                report.rows_in += 1
                count += 1
                where = f"{path.name} line {reader.line_num}"
                article = row["article_id"] or ""
                if len(article) == 9 and article.isdigit():
                    # A table that went through a spreadsheet has lost the 0 that ids begin with.
                    article = f"0{article}"
                    report.repair("article_id without its leading 0", where)
                if len(article) != 10 or not article.isdigit():
                    report.drop("article_id is not ten digits", f"{where}: '{article}'")
                    continue
                said = (row["prod_name"], row["detail_desc"])
                yield Item(
                    item_id=article,
                    image=root / "images" / article[:3] / f"{article}.jpg",
                    text=". ".join(part.strip() for part in said if part and part.strip()),
                    category=row["product_type_name"] or "unknown",
                    product_id=article[:7],
                    attributes={
                        name: self._value(name, row[column] or "")
                        for name, column in _ATTRIBUTES.items()
                    },
                    origin=where,
                )
        report.expect("articles", _SIZE, count)

    def _value(self, name: str, label: str) -> str:
        if name == "gender":
            return _WOMEN_MEN.get(label.lower(), "unknown")
        return "unknown" if label.lower() in ("", "unknown") else self.stated(name, label)
