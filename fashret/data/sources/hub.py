"""Any Hugging Face data set: on the hub, on disk, or shards of parquet or WebDataset."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import DatasetDict, Image, load_dataset, load_from_disk
from PIL import Image as PILImage

from fashret.data.columns import LEFT_OUT, ColumnMap, photo_in, photo_path
from fashret.data.dataset_rows import DatasetRows, shards_of
from fashret.data.draft import SeenIds
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.splits import SplitAndRole, splits_named
from fashret.errors import DataError


@dataclass(kw_only=True)
class Hub(Source):
    """A data set of the `datasets` library, by a mapping of its columns.

    Splits of the names train, validation (val, dev, ...) and test are kept; those of the names
    query and gallery are the test split, and who searches what in it; a set that is all `train`, or
    one split of another name (Marqo's are all `data`), is cut by product. Without a network only
    folders can be read. Shards are streamed: they may be larger than memory and are not copied. The
    splits of shards are those of their names (`train-00000-of-00010.parquet`), and come before the
    ids of their items where there are several.

    Args:
        name: what `load_dataset` takes, a folder that `save_to_disk` wrote, or a folder of parquet
            or WebDataset shards.
        config: the set's configuration, null for its default.
        revision: a commit or tag of the hub, null for the newest.
        columns: column by field, for columns of other names.
        split_names: what the set's names of splits mean, where they are not understood: train,
            validation, test, query, gallery, or null to leave one out.
    """

    config: str | None = None
    revision: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    split_names: Mapping[str, str | None] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """The fingerprints of the set's splits, and how they are read."""
        prints = {split: rows.fingerprint for split, rows in self._load().items()}
        options = {"columns": dict(self.columns), "split_names": dict(self.split_names)}
        return {"name": None if self._is_folder else self.name, "splits": prints, **options}

    def files(self) -> Iterator[tuple[str, str]]:
        """The shards, and the photos of a set that holds their paths."""
        folder = Path(self.name).expanduser()
        for shard in shards_of(folder) if self._is_folder else ():
            yield shard.relative_to(folder).as_posix(), str(shard.absolute())
        for split, rows in self._load().items():
            column = self._column_map(rows).fields["image"]
            kind = rows.features[column]
            if not isinstance(kind, Image) and getattr(kind, "dtype", None) != "binary":
                for number, row in enumerate(rows.read([column])):
                    if path := photo_path(row[column]):
                        yield f"{split}-{number}", path

    def items(self, report: Report) -> Iterator[Item]:
        """A row an item."""
        loaded = self._load()
        stated = self._stated_splits(list(loaded))
        repeat = self._ids_repeat(loaded)
        for split, rows in loaded.items():
            columns = self._column_map(rows)
            columns.report(report, self.attributes)
            if self.stated_splits and not stated:
                where = f"{split} row"
                columns.check_splits((where, row) for row in rows.read(rows.texts(columns.unused)))
            split_and_role = stated.get(split) if stated else (None, None)
            if split_and_role is None:
                for number in range(rows.number_of_rows()):
                    report.rows_in += 1
                    reason = "split left out by data.split_names"
                    report.drop(reason, f"{split} row {number}")
                continue
            prefix = f"{split}/" if repeat else ""
            yield from self._split_items(rows, columns, split, split_and_role, prefix, report)

    def _stated_splits(self, names: Sequence[str]) -> Mapping[str, SplitAndRole | None]:
        """The split and role of an item by the set's own name; empty where the set is cut anew.

        Raises:
            DataError: some names are those of splits and others are not.
        """
        if not self.stated_splits:
            return {}
        stated = splits_named(names, self.split_names, where=f"data.name={self.name}")
        return {} if list(stated.values()) == [("train", None)] else stated

    def _split_items(
        self,
        rows: DatasetRows,
        columns: ColumnMap,
        split: str,
        stated: tuple[str | None, str | None],
        prefix: str,
        report: Report,
    ) -> Iterator[Item]:
        image = columns.fields["image"]
        for number, row in enumerate(rows.read(list(columns.fields.values()))):
            report.rows_in += 1
            where = f"{split} row {number}"
            photo = _photo(row[image], where)
            if photo is None:
                report.drop("missing photo", where)
                continue
            own = columns.split(row, self.split_names, where)
            if own[0] == LEFT_OUT:
                report.drop("split left out by data.split_names", where)
                continue
            item_id = columns.text(row, "item_id", where)
            yield Item(
                item_id=f"{prefix}{item_id}" if item_id else f"{split}-{number}",
                image=photo,
                text=columns.text(row, "text", where),
                category=columns.text(row, "category", where) or "unknown",
                product_id=columns.text(row, "product_id", where) or None,
                attributes={name: columns.text(row, name, where) for name in self.attributes},
                split=stated[0] or own[0],
                role=own[1] or stated[1],
                names=tuple(name for name in (photo_path(row[image]), item_id) if name),
                origin=where,
            )

    def _ids_repeat(self, loaded: Mapping[str, DatasetRows]) -> bool:
        """Whether two splits may have an id in common: a query is another item than its match."""
        if len(loaded) == 1:
            return False
        if any(rows.is_streamed for rows in loaded.values()):
            return True  # reading all shards for their ids alone would take too long
        earlier = SeenIds()
        for rows in loaded.values():
            column = self._column_map(rows).fields.get("item_id")
            own = SeenIds()
            ids: Iterator[Any] = (
                (row[column] for row in rows.read([column])) if column else iter(())
            )
            for item_id in ids:
                if item_id is not None and own.add(str(item_id)) and not earlier.add(str(item_id)):
                    return True
        return False

    def _column_map(self, rows: DatasetRows) -> ColumnMap:
        where = f"data.name={self.name}"
        given = rows.usual_columns | dict(self.columns)
        return ColumnMap.match(list(rows.features), given, self.attributes, where=where)

    @property
    def _is_folder(self) -> bool:
        return Path(self.name).expanduser().is_dir()

    def _load(self) -> Mapping[str, DatasetRows]:
        folder = Path(self.name).expanduser()
        try:
            if self._is_folder and shards_of(folder):
                loaded = load_dataset(str(folder), streaming=True)
            elif self._is_folder:
                loaded = load_from_disk(str(folder))
            else:
                loaded = load_dataset(self.name, self.config, revision=self.revision)
        except (OSError, ValueError, ConnectionError) as e:
            raise DataError(
                f"data.name={self.name} cannot be loaded: {e}. Without a network, load it "
                "where there is one, `save_to_disk` it, and give that folder as data.name"
            ) from e
        splits = loaded if isinstance(loaded, dict) else DatasetDict({"data": loaded})
        where = f"data.name={self.name}"
        return {split: DatasetRows(rows, where) for split, rows in splits.items()}


def _photo(value: object, where: str) -> bytes | Path | None:
    """The encoded photo of a cell: an undecoded Image, bytes, a path, or a decoded picture."""
    if isinstance(value, PILImage.Image):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return buffer.getvalue()
    held = photo_in(value, where)
    return Path(held) if isinstance(held, str) else held
