"""Polyvore Outfits (Vasileva et al., ECCV 2018)."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fashret.data.on_disk import OnDisk, read_json
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.errors import ConfigError

_SPLITS = {"test": "test", "valid": "validation", "train": "train"}
"""In the order in which they claim an item: what is held out anywhere is not trained on."""

_OUTFITS = {
    "disjoint": {"train": 16_995, "valid": 3_000, "test": 15_145},
    "nondisjoint": {"train": 53_306, "valid": 5_000, "test": 10_000},
}


@dataclass(kw_only=True)
class Polyvore(OnDisk):
    """Items of outfits, with a title each, in the official splits of the outfits.

    The category is the fine one of categories.csv, `sub_category` the semantic one. In the
    version `nondisjoint` an item may be in outfits of several splits: it is held out then.

    Args:
        version: disjoint or nondisjoint.
    """

    name: str = "polyvore"
    attributes: Sequence[str] = (
        "sub_category",
        "material",
        "pattern",
        "neckline",
        "sleeve",
        "colour",
        "gender",
    )
    version: str = "disjoint"

    address: ClassVar[str] = "https://github.com/mvasil/fashion-compatibility"
    layout: ClassVar[str] = (
        "polyvore_item_metadata.json, categories.csv, images/, and disjoint/ and nondisjoint/ "
        "with train.json, valid.json and test.json"
    )
    photos: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("*.json", "*.csv", "*disjoint/*.json")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in _OUTFITS:
            raise ConfigError(
                f"data.version={self.version}: it must be one of {', '.join(_OUTFITS)}"
            )

    def identity(self) -> dict[str, Any]:
        """The files, and which splits."""
        return {**super().identity(), "version": self.version}

    def items(self, report: Report) -> Iterator[Item]:
        """An entry of the metadata that is in an outfit an item."""
        root, split_of = self.folder(), self._splits(report)
        kinds = self._kinds()
        path = self.file("polyvore_item_metadata.json", "item_metadata.json")
        for item_id, entry in read_json(path).items():
            report.rows_in += 1
            if item_id not in split_of:
                report.drop(f"in no outfit of {self.version}", item_id)
                continue
            text = entry.get("title") or entry.get("url_name") or ""
            kind = str(entry.get("category_id") or "")
            yield Item(
                item_id=item_id,
                image=root / "images" / f"{item_id}.jpg",
                text=text,
                category=kinds.get(kind) or entry.get("semantic_category") or "unknown",
                product_id=item_id,
                attributes={"sub_category": entry.get("semantic_category") or "unknown"},
                split=split_of[item_id],
                origin=f"{path.name} {item_id}",
            )

    def _splits(self, report: Report) -> dict[str, str]:
        """The split of each item."""
        found: dict[str, str] = {}
        for name, split in _SPLITS.items():
            outfits = read_json(self.file(f"{self.version}/{name}.json"))
            report.expect(f"{name} outfits", _OUTFITS[self.version][name], len(outfits))
            for outfit in outfits:
                for entry in outfit["items"]:
                    item_id = str(entry["item_id"])
                    if found.setdefault(item_id, split) != split:
                        report.repair(
                            "in outfits of several splits: held out", f"{item_id} in {name}"
                        )
        return found

    def _kinds(self) -> dict[str, str]:
        """Fine categories by their number."""
        path = self.optional("categories.csv")
        if path is None:
            return {}
        with path.open(newline="", encoding="utf-8") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
