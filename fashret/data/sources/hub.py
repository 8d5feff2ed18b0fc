"""Any Hugging Face data set, on the hub or on disk."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Image, load_dataset, load_from_disk
from PIL import Image as PILImage

from fashret.data.columns import ColumnMap, report_missing
from fashret.data.report import Report
from fashret.data.source import Item, Source
from fashret.errors import DataError

_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_ROLES = ("query", "gallery")


@dataclass(kw_only=True)
class Hub(Source):
    """A data set of the `datasets` library, by a mapping of its columns.

    Splits of the names train, validation (or val) and test are kept; those of the names query and
    gallery are the test split, and who searches what in it; a set that is one split (Marqo's are
    all `data`) is cut by product. What needs the hub is not tried without a network:
    a set that `save_to_disk` wrote works everywhere.

    Args:
        name: what `load_dataset` takes, or a folder that `save_to_disk` wrote.
        config: the set's configuration, null for its default.
        revision: a commit or tag of the hub, null for the newest.
        columns: column by field, for columns of other names.
    """

    config: str | None = None
    revision: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """The fingerprints of the set's splits."""
        loaded = self._load()
        prints = {split: ds._fingerprint for split, ds in loaded.items()}
        return {"name": self.name, "splits": prints, "columns": dict(self.columns)}

    def items(self, report: Report) -> Iterator[Item]:
        """A row an item."""
        loaded = self._load()
        own = "train" in loaded and len(loaded) > 1 and set(loaded) <= {*_SPLITS, *_ROLES}
        own = own or set(loaded) == set(_ROLES)
        for split, rows in loaded.items():
            columns = ColumnMap.over(
                rows.column_names, self.columns, self.attributes, where=f"data.name={self.name}"
            )
            if "image" not in columns.fields:
                raise DataError(
                    f"data.name={self.name} has no column image: "
                    f"data.columns.image=<one of {', '.join(rows.column_names)}>"
                )
            report_missing(columns, self.attributes, report)
            stated = _SPLITS.get(split, "test") if own else None
            yield from self._split_items(rows, columns, split, stated, report)

    def _split_items(
        self, rows: Dataset, columns: ColumnMap, split: str, stated: str | None, report: Report
    ) -> Iterator[Item]:
        image = columns.fields["image"]
        if isinstance(rows.features[image], Image):
            rows = rows.cast_column(image, Image(decode=False))
        for number, row in enumerate(rows):
            report.rows_in += 1
            where = f"{split} row {number}"
            photo = _photo(row[image])
            if photo is None:
                report.drop("missing photo", where)
                continue
            yield Item(
                item_id=self._item_id(columns.text(row, "item_id"), split, number),
                image=photo,
                text=columns.text(row, "text"),
                category=columns.text(row, "category") or "unknown",
                product_id=columns.text(row, "product_id") or None,
                attributes={name: columns.text(row, name) for name in self.attributes},
                split=stated or columns.split(row, where),
                role=columns.text(row, "role") or (split if split in _ROLES else None),
                origin=where,
            )

    def _item_id(self, stated: str, split: str, number: int) -> str:
        """What the row says, or its place; a query is another item than the gallery's of its id."""
        if not stated:
            return f"{split}-{number}"
        return f"{split}/{stated}" if split in _ROLES else stated

    def _load(self) -> DatasetDict:
        try:
            if Path(self.name).expanduser().is_dir():
                loaded = load_from_disk(str(Path(self.name).expanduser()))
            else:
                loaded = load_dataset(self.name, self.config, revision=self.revision)
        except (OSError, ValueError, ConnectionError) as e:
            raise DataError(
                f"data.name={self.name} cannot be loaded: {e}. Without a network, load it "
                "where there is one, `save_to_disk` it, and give that folder as data.name"
            ) from e
        return loaded if isinstance(loaded, DatasetDict) else DatasetDict({"data": loaded})


def _photo(value: object) -> bytes | Path | None:
    """The encoded photo of a cell: an undecoded Image, bytes, a path, or a decoded picture."""
    if isinstance(value, dict):
        if value.get("bytes"):
            return bytes(value["bytes"])
        return Path(value["path"]) if value.get("path") else None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, PILImage.Image):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return buffer.getvalue()
    return None
