"""A folder of photos, with or without sub-folders and a table."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fashret.data.columns import LEFT_OUT, STANDARD, ColumnMap, photo_in, photo_path
from fashret.data.photo_folders import FOLDER_CONFIDENCE, FolderLevels, walk_photos
from fashret.data.photo_paths import photo_below
from fashret.data.photos import SUFFIXES
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source, existing_root
from fashret.data.tables import Table, read_table
from fashret.errors import ConfigError, DataError

_LAYOUT = "photos, in class sub-folders or not"


@dataclass(kw_only=True)
class Folder(Source):
    """Photos on disk.

    Without a table every photo below the root is an item, and its id is its path. Folders at the
    top that are named train, validation (val, dev, ...) and test are splits. The folder of a photo
    is its category; where the deepest folders hold few photos each, they are products, and the
    folder above is the category.

    With a table (CSV, TSV, JSON lines or parquet) every row is an item; its columns are found by
    the names item_id, image, text, category, product_id, split, role and the attributes', or by
    `columns`. `image` is a path relative to the root, or the encoded photo itself.

    Args:
        root: the folder.
        table: a file, relative to the root or to where the command runs; null for none.
        columns: column by field, for a table with other names.
        encoding: of a CSV, TSV or JSON lines file; null for UTF-8, or UTF-16 with its byte order
            mark.
        levels: what the folders of a set without a table say, from the top to the deepest and
            below those of splits: fields of an item, null for a level without a meaning. null:
            inferred from their names and the photos in them.
        split_names: what the set's names of splits mean, where they are not understood: train,
            validation, test, query, gallery, or null to leave one out.
    """

    name: str = ""
    root: str
    table: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str | None = None
    levels: Sequence[str | None] | None = None
    split_names: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = os.fspath(self.root)
        self.name = self.name or self.root
        super().__post_init__()
        known = {*STANDARD, *self.attributes} - {"item_id", "image"}
        levels = [name for name in self.levels or () if name is not None]
        if len(set(levels)) < len(levels):
            raise ConfigError(f"data.levels={levels} names a field twice")
        for name in levels:
            if name not in known:
                raise ConfigError(
                    f"data.levels names {name}: a level of folders is null or one of "
                    f"{', '.join(sorted(known))}"
                )

    def identity(self) -> dict[str, Any]:
        """How the files are read."""
        return {
            "columns": dict(self.columns),
            "encoding": self.encoding,
            "levels": self.levels and list(self.levels),
            "split_names": dict(self.split_names),
            "table": self.table is None,
        }

    def files(self) -> Iterator[tuple[str, str | Path]]:
        """The table and the photos that it names, or all photos."""
        root = self._root()
        path = self._table_path(root)
        if path is None:
            base = os.path.abspath(root)
            yield from ((name, f"{base}/{name}") for name in walk_photos(root))
            return
        yield "table", path
        column = self._read(path, Report())[1].fields["image"]
        table, _ = self._read(path, Report(), only=[column])
        for where, row in table.rows:
            image = photo_in(row.get(column), where)
            if isinstance(image, str) and (photo := photo_below(root, image)) is not None:
                yield image, photo

    def items(self, report: Report) -> Iterator[Item]:
        """A row of the table, or a photo, an item."""
        root = self._root()
        path = self._table_path(root)
        if path is None:
            yield from self._photo_items(root, report)
        else:
            yield from self._table_items(root, path, report)

    def _photo_items(self, root: Path, report: Report) -> Iterator[Item]:
        paths = list(walk_photos(root))
        if not paths:
            raise DataError(f"data.root={self.root} holds no photo ({', '.join(sorted(SUFFIXES))})")
        folders = FolderLevels.from_paths(
            paths,
            report,
            root=self.root,
            levels=None if self.levels is None else [name or "" for name in self.levels],
            stated_splits=self.stated_splits,
            split_names=self.split_names,
        )
        stray = 0
        for path in paths:
            report.rows_in += 1
            stated = folders.fields(path)
            if stated is None:
                report.drop("photo beside the folders of splits", path)
                stray += 1
                continue
            yield Item(
                item_id=os.fsencode(path).decode(errors="backslashreplace"),
                image=root / path,
                text=stated.get("text", ""),
                category=stated.get("category", "unknown"),
                product_id=stated.get("product_id"),
                product_confidence=FOLDER_CONFIDENCE if folders.products else 1.0,
                attributes={n: stated[n] for n in self.attributes if n in stated},
                split=stated.get("split"),
                role=stated.get("role"),
                names=(path,),
            )
        if stray:
            report.warn(
                f"data.root={self.root}: {stray} photos beside the folders "
                f"{', '.join(folders.split_of)} are in no split and are left out"
            )

    def _table_items(self, root: Path, path: Path, report: Report) -> Iterator[Item]:
        table, columns = self._read(path, report)
        columns.report(report, self.attributes)
        if self.stated_splits:
            texts = [name for name in columns.unused if name in table.texts]
            columns.check_splits(self._read(path, Report(), only=texts)[0].rows)
        table, _ = self._read(path, Report(), only=list(columns.fields.values()))
        for where, row in table.rows:
            report.rows_in += 1
            image = photo_in(row.get(columns.fields["image"]), where)
            if image is None:
                report.drop("no image named", where)
                continue
            photo: Path | bytes | None = (
                image if isinstance(image, bytes) else photo_below(root, image)
            )
            if photo is None:
                url = "://" in str(image)
                reason = "photo is a URL: not downloaded" if url else "image outside data.root"
                report.drop(reason, f"{where}: {image!s}")
                continue
            stated = columns.text(row, "item_id", where)
            name = photo_path(row.get(columns.fields["image"]))
            split, role = columns.split(row, self.split_names, where)
            if split == LEFT_OUT:
                report.drop("split left out by data.split_names", where)
                continue
            yield Item(
                item_id=stated or (image if isinstance(image, str) else where),
                image=photo,
                text=columns.text(row, "text", where),
                category=columns.text(row, "category", where) or "unknown",
                product_id=columns.text(row, "product_id", where) or None,
                attributes={n: columns.text(row, n, where) for n in self.attributes},
                split=split,
                role=role,
                names=tuple(n for n in (name, stated) if n),
                origin=where,
            )

    def _read(
        self, path: Path, report: Report, only: Sequence[str] | None = None
    ) -> tuple[Table, ColumnMap]:
        table = read_table(
            path,
            report,
            key="data.table",
            encoding=self.encoding,
            columns=only,
            photos=(self.columns.get("image") or "image",),
        )
        name = f"data.table={self.table}"
        return table, ColumnMap.match(table.columns, self.columns, self.attributes, where=name)

    def _root(self) -> Path:
        return existing_root(self.root, key="data.root", layout=_LAYOUT)

    def _table_path(self, root: Path) -> Path | None:
        if self.table is None:
            return None
        for path in (root / self.table, Path(self.table).expanduser()):
            if path.is_file():
                return path
        raise DataError(
            f"data.table={self.table}: file not found, neither in {root} nor relative to the "
            "current folder"
        )
