"""A catalog as shards of parquet: items with their embeddings, for engines that read tables."""

import shutil
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fashret.catalog.folder import META, Catalog
from fashret.disk import require_space
from fashret.errors import CatalogError
from fashret.progress import progress

SHARD_ROWS = 250_000
"""Items of a shard: 512 dimensions in single precision make files of a gigabyte."""

_BYTES = 4
"""Bytes of a number: shards are in single precision."""

_READ = 8192
"""Items that are written at a time."""


def write_shards(catalog: Catalog, folder: Path, *, shard_rows: int = SHARD_ROWS) -> list[Path]:
    """Write the items and embeddings of a catalog as shards of parquet.

    A shard has the columns of the items (`item_id`, `product_id`, `split`, `category`, attributes,
    `text`) and `image_embedding` and `text_embedding`, lists of D numbers; the second is null where
    an item has no text. A later call replaces the shards at once; an interrupted one leaves those
    of before.

    Args:
        catalog: the catalog.
        folder: the folder of the shards, a new one or one with shards.
        shard_rows: items of a shard.

    Returns:
        The shards, `shard-00000-of-00004.parquet` and so on.

    Raises:
        CatalogError: the folder holds something else, cannot be written, or the disk is too small.
    """
    before = folder.with_name(f"{folder.name}.before")
    if before.is_dir() and not folder.exists():  # killed between two renames
        before.rename(folder)
    if folder.exists() and not folder.is_dir():
        raise CatalogError(f"catalog.parquet={folder} is a file: choose a new folder")
    foreign = [path.name for path in folder.glob("*") if not path.match("shard-*-of-*.parquet")]
    if foreign:
        raise CatalogError(
            f"catalog.parquet={folder} holds {', '.join(sorted(foreign)[:3])}: choose a new folder"
        )
    count = -(-len(catalog) // shard_rows)
    require_space(folder, 2 * _BYTES * catalog.image.numel(), f"the shards of {len(catalog)} items")
    draft = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        paths = [draft / f"shard-{number:05}-of-{count:05}.parquet" for number in range(count)]
        with progress(total=len(catalog), desc="writing shards", unit=" items") as bar:
            parts = _parts(catalog, shard_rows)
            for path, (_, rows) in zip(paths, groupby(parts, lambda part: part[0]), strict=True):
                _write_shard(path, (table for _, table in rows), bar)
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)
            folder.rename(before)
        draft.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as e:
        raise CatalogError(f"catalog.parquet={folder} cannot be written: {e.strerror or e}") from e
    return sorted(folder.glob("*.parquet"))


def _parts(catalog: Catalog, shard_rows: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of a catalog, some at a time, with the number of their shard."""
    row = 0
    for batch in pq.ParquetFile(catalog.files / META).iter_batches(_READ):
        while len(batch):
            room = shard_rows - row % shard_rows
            part, batch = batch.slice(0, room), batch.slice(room)
            rows = slice(row, row + len(part))
            image, text = catalog.image[rows].numpy(), catalog.text[rows].numpy()
            table = pa.Table.from_batches([part])
            table = table.append_column("image_embedding", _lists(image))
            has_text = np.any(text, axis=1)
            yield row // shard_rows, table.append_column("text_embedding", _lists(text, ~has_text))
            row += len(part)


def _write_shard(path: Path, tables: Iterable[pa.Table], bar: Any) -> None:
    tables = iter(tables)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            bar.update(len(table))


def _lists(vectors: NDArray[np.floating[Any]], missing: Any = None) -> pa.FixedSizeListArray:
    """(n, D) vectors as n lists of D numbers; null where they are missing."""
    values = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    nulls = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=nulls)
