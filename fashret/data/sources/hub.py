"""Any Hugging Face data set, on the hub or on disk."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Image, load_dataset, load_from_disk
from PIL import Image as PILImage

from fashret.data.columns import ColumnMap, photo_in
from fashret.data.report import Report
from fashret.data.source import Item, Source
from fashret.data.splits import SPLIT_NAMES, looks_like_split, split_named
from fashret.data.tables import label_name
from fashret.errors import DataError

_ROLES = ("query", "gallery")


@dataclass(kw_only=True)
class Hub(Source):
    """A data set of the `datasets` library, by a mapping of its columns.

    Splits of the names train, validation (val, dev, ...) and test are kept; those of the names
    query and gallery are the test split, and who searches what in it; a set that is all `train`, or
    one split of another name (Marqo's are all `data`), is cut by product. Without a network only a
    set that `save_to_disk` wrote can be read.

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
        stated = self._stated_splits(list(loaded))
        for split, rows in loaded.items():
            where = f"data.name={self.name}"
            columns = ColumnMap.over(rows.column_names, self.columns, self.attributes, where=where)
            columns.report(report, self.attributes)
            if self.stated_splits and not stated:
                columns.check_splits((where, row) for row in _without_photos(rows))
            yield from self._split_items(rows, columns, split, stated.get(split), report)

    def _stated_splits(self, names: Sequence[str]) -> dict[str, str]:
        """The split of an item by the set's own name for it; empty where the set is cut anew.

        Raises:
            DataError: some names are those of splits and others are not.
        """
        named = {name: "test" if name in _ROLES else split_named(name) for name in names}
        stated = {name: split for name, split in named.items() if split is not None}
        if not self.stated_splits or list(named.values()) == ["train"]:
            return {}
        if len(stated) < len(named) and any(looks_like_split(name) for name in names):
            others = ", ".join(name for name in names if name not in stated)
            raise DataError(
                f"data.name={self.name} has the splits {', '.join(names)}, and it is not clear "
                f"what {others} is: splits are named {', '.join(SPLIT_NAMES)}, query and gallery. "
                "data.stated_splits=false cuts new splits of all items"
            )
        return stated if len(stated) == len(named) else {}

    def _split_items(
        self, rows: Dataset, columns: ColumnMap, split: str, stated: str | None, report: Report
    ) -> Iterator[Item]:
        image = columns.fields["image"]
        if isinstance(rows.features[image], Image):
            rows = rows.cast_column(image, Image(decode=False))
        labels = {n: f for n, f in rows.features.items() if isinstance(f, ClassLabel)}
        for number, row in enumerate(rows):
            report.rows_in += 1
            where = f"{split} row {number}"
            row |= {name: label_name(row[name], label) for name, label in labels.items()}
            photo = _photo(row[image], where)
            if photo is None:
                report.drop("missing photo", where)
                continue
            item_id = columns.text(row, "item_id", where)
            yield Item(
                item_id=self._item_id(item_id, split, number),
                image=photo,
                text=columns.text(row, "text", where),
                category=columns.text(row, "category", where) or "unknown",
                product_id=columns.text(row, "product_id", where) or None,
                attributes={name: columns.text(row, name, where) for name in self.attributes},
                split=(stated or columns.split(row, where)) if self.stated_splits else None,
                role=columns.text(row, "role", where) or (split if split in _ROLES else None),
                names=tuple(name for name in (_path(row[image]), item_id) if name),
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


def _photo(value: object, where: str) -> bytes | Path | None:
    """The encoded photo of a cell: an undecoded Image, bytes, a path, or a decoded picture."""
    if isinstance(value, PILImage.Image):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return buffer.getvalue()
    held = photo_in(value, where)
    return Path(held) if isinstance(held, str) else held


def _path(value: object) -> str:
    """The path that a cell names its photo by, "" where it names none."""
    path = value.get("path") if isinstance(value, dict) else value
    return path if isinstance(path, str) else ""


def _without_photos(rows: Dataset) -> Dataset:
    """The columns that are quick to read."""
    return rows.remove_columns([n for n, f in rows.features.items() if isinstance(f, Image)])
