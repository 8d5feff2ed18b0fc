"""A folder of photos, with or without class sub-folders and a table."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fashret.data.columns import ColumnMap, report_missing
from fashret.data.photos import SUFFIXES
from fashret.data.report import Report
from fashret.data.source import Item, Source, existing_root, file_stamps
from fashret.errors import DataError

_LAYOUT = "photos, in class sub-folders or not"


@dataclass(kw_only=True)
class Folder(Source):
    """Photos on disk.

    Without a table every photo below the root is an item: its id is its path, its category the
    name of the sub-folder that it lies in; `train/`, `validation/` (or `val/`) and `test/` at the
    top are splits. With a table (CSV, JSONL or parquet) every row is an item; its columns are
    found by the names item_id, image, text, category, product_id, split, role and the
    attributes', or by `columns`. `image` is relative to the root.

    Args:
        root: the folder.
        table: a file, relative to the root or to where the command runs; null for none.
        columns: column by field, for a table with other names.
    """

    root: str
    table: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """The table's bytes, and name, size and time of every photo."""
        root = self._root()
        stamps = hashlib.blake2b(repr(file_stamps(_photos(root), root)).encode()).hexdigest()
        table = self._table_path(root)
        digest = None if table is None else hashlib.blake2b(table.read_bytes()).hexdigest()
        return {"photos": stamps, "table": digest, "columns": dict(self.columns)}

    def items(self, report: Report) -> Iterator[Item]:
        """A row of the table, or a photo, an item."""
        root = self._root()
        table = self._table_path(root)
        if table is None:
            yield from self._photo_items(root, report)
        else:
            yield from self._table_items(root, table, report)

    def _photo_items(self, root: Path, report: Report) -> Iterator[Item]:
        paths = _photos(root)
        if not paths:
            raise DataError(f"data.root={self.root} holds no photo ({', '.join(sorted(SUFFIXES))})")
        tops = {path.relative_to(root).parts[0] for path in paths}
        names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
        in_splits = tops <= set(names) and "train" in tops
        for path in paths:
            report.rows_in += 1
            parts = path.relative_to(root).parts
            folders = parts[1:-1] if in_splits else parts[:-1]
            yield Item(
                item_id=path.relative_to(root).as_posix(),
                image=path,
                category=folders[-1] if folders else "unknown",
                split=names[parts[0]] if in_splits else None,
                name=path.relative_to(root).as_posix(),
            )

    def _table_items(self, root: Path, table: Path, report: Report) -> Iterator[Item]:
        frame = _read_table(table)
        columns = ColumnMap.over(
            [str(name) for name in frame.columns],
            self.columns,
            self.attributes,
            where=f"data.table={self.table}",
        )
        if "image" not in columns.fields:
            raise DataError(
                f"data.table={self.table} has no column image: name the one with the photos' "
                f"paths, data.columns.image=<one of {', '.join(map(str, frame.columns))}>"
            )
        report_missing(columns, self.attributes, report)
        for number, row in enumerate(frame.to_dict(orient="records"), start=1):
            report.rows_in += 1
            where = f"{table.name} row {number}"
            fields = {str(name): value for name, value in row.items()}
            image = columns.text(fields, "image")
            if not image:
                report.drop("no image named", where)
                continue
            path = root / image
            if not path.resolve().is_relative_to(root.resolve()):
                report.drop("image outside data.root", f"{where}: {image}")
                continue
            yield Item(
                item_id=columns.text(fields, "item_id") or image,
                image=path,
                text=columns.text(fields, "text"),
                category=columns.text(fields, "category") or "unknown",
                product_id=columns.text(fields, "product_id") or None,
                attributes={name: columns.text(fields, name) for name in self.attributes},
                split=columns.split(fields, where),
                role=columns.text(fields, "role") or None,
                name=image,
                origin=where,
            )

    def _root(self) -> Path:
        return existing_root(self.root, key="data.root", layout=_LAYOUT)

    def _table_path(self, root: Path) -> Path | None:
        if self.table is None:
            return None
        for path in (root / self.table, Path(self.table).expanduser()):
            if path.is_file():
                return path
        raise DataError(f"data.table={self.table} is neither a file in {root} nor one from here")


def _photos(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _read_table(path: Path) -> pd.DataFrame:
    """A table with every value as it is written: ids keep leading zeros, `NA` stays `NA`."""
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        if path.suffix == ".tsv":
            return pd.read_csv(path, dtype=str, keep_default_na=False, sep="\t")
        if path.suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True, dtype=False)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
    except (ValueError, OSError) as e:  # pandas' parser errors are ValueErrors
        raise DataError(f"data.table={path} cannot be read: {e}") from e
    raise DataError(f"data.table={path} is none of .csv, .tsv, .jsonl, .ndjson, .parquet")
