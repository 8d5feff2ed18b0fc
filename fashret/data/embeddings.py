"""Embeddings of items that others computed, as they are exported: files, ids and vectors."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fashret.catalog_files import files_folder
from fashret.errors import DataError
from fashret.file_lock import file_lock

log = logging.getLogger(__name__)

HUB = "hf:"
"""The prefix of the name of a data set on the Hugging Face Hub."""

_IDS = ("item_id", "id", "ids", "sku", "asin")
"""Names of the column of ids."""

_IMAGE = ("catalog_img.npy", "image.npy", "img.npy", "embeddings.npy", "vectors.npy")
_TEXT = ("catalog_txt.npy", "text.npy", "txt.npy")
_ID_FILES = ("catalog_meta.parquet", "ids.parquet", "ids.csv", "ids.txt", "ids.json", "ids.npy")
_TEXT_WORDS = ("text", "txt", "title", "caption")
"""Parts of the name of a column with vectors of texts; any other column of vectors is of photos."""

_JSON = (".jsonl", ".ndjson")

_BLOCK = 65_536
"""Rows checked at a time."""

_NAMED = 5


@dataclass(frozen=True)
class ImportedEmbeddings:
    """Embeddings that were imported.

    Attributes:
        ids: the item id of each row.
        image: (M, D) float, of the items' photos, or of the items if there is one vector for each.
        text: (M, D) float of the items' texts, zero where an item has none; None without texts.
    """

    ids: Sequence[str]
    image: NDArray[np.floating[Any]]
    text: NDArray[np.floating[Any]] | None

    def rows_of(self, item_ids: Sequence[str], what: str) -> NDArray[np.int64]:
        """Find the row of each item.

        Args:
            item_ids: (N,) ids.
            what: the name of the embeddings, for the message.

        Returns:
            (N,) rows.

        Raises:
            DataError: an item has no embedding; the message names the first.
        """
        known = pa.array(self.ids, pa.string())
        found = pc.index_in(pa.array(item_ids, pa.string()), value_set=known)
        rows: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        known_rows = np.flatnonzero(rows >= 0)
        lengths = np.zeros(len(rows))
        for start in range(0, len(known_rows), _BLOCK):
            part = known_rows[start : start + _BLOCK]
            lengths[part] = np.abs(self.image[rows[part]]).max(axis=1)
        missing = np.flatnonzero(lengths == 0)  # no id, or a vector of zeros: no vector
        if len(missing):
            named = ", ".join(item_ids[row] for row in missing[:_NAMED])
            raise DataError(
                f"{what} lacks the vectors of {len(missing)} of {len(item_ids)} items: {named}"
                f"{', ...' if len(missing) > _NAMED else ''}; it has {len(self.ids)} ids, such as "
                f"{', '.join(self.ids[:3])}. Leave the items out (data.overrides, column drop), or "
                "give the ids of the data"
            )
        unused = len(self.ids) - len(np.unique(rows))
        if unused:
            log.info("%s: %d embeddings are of no item of the data", what, unused)
        return rows


def is_export(path: str | Path) -> bool:
    """Return whether a path looks like exported embeddings: arrays in a folder, or a table."""
    found = Path(path).expanduser()
    return _is_arrays(found) or (found.is_file() and found.suffix in (".parquet", *_JSON))


def has_text_embeddings(path: str) -> bool:
    """Return whether an export has embeddings of texts beside those of photos.

    Raises:
        DataError: see `read_embeddings`.
    """
    stats = [file.stat() for file in embeddings_files(path)]
    return _has_text(path, tuple((each.st_size, each.st_mtime_ns) for each in stats))


@cache
def _has_text(path: str, stamp: tuple[tuple[int, int], ...]) -> bool:
    """See `has_text_embeddings`; asked once for each state of the files."""
    folder = Path(path).expanduser()
    if _is_arrays(folder):
        return _first(folder, _TEXT) is not None and _first(folder, _IMAGE) is not None
    image, text = _vector_columns(_schema(path), path)
    return image is not None and text is not None


def embeddings_files(path: str) -> list[Path]:
    """List the files that decide the content of an export; none for a data set on the hub."""
    folder = Path(path).expanduser()
    if _is_arrays(folder):
        folder = _current(folder)
        names = (_first(folder, _IMAGE), _first(folder, _TEXT), _first(folder, _ID_FILES))
        return [file for file in names if file is not None]
    if folder.is_dir():
        return sorted(each for each in folder.rglob("*") if each.is_file())
    return [folder] if folder.is_file() else []


def read_embeddings(path: str, cache_dir: Path, key: str) -> ImportedEmbeddings:
    """Read embeddings that others computed; arrays are memory-mapped.

    Args:
        path: a folder of arrays (`catalog_img.npy`, `catalog_txt.npy` and `catalog_meta.parquet`,
            row i describes embedding i; or `image.npy`, `text.npy` and `ids.txt|csv|json|npy`); a
            .parquet or .jsonl file with a column of ids and one or two columns of vectors; a
            folder of such parquet files; a folder that `save_to_disk` of Hugging Face datasets
            wrote; or `hf:<owner>/<name>[@<revision>]` on its hub.
        cache_dir: the cache, to which a table's vectors are written as arrays once.
        key: a hash of the content of the files.

    Raises:
        DataError: the export cannot be read, has no ids or no vectors, an id twice, vectors of
            different lengths, or NaN or Inf; the message names the first items.
    """
    folder = Path(path).expanduser()
    if _is_arrays(folder):
        found = _read_arrays(_current(folder), path)
    else:
        name = f"{Path(path).stem}-{key}"
        found = _read_cached(path, cache_dir / "embeddings" / name)
    _check(found, path)
    return found


def _is_arrays(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.npy"))


def _current(folder: Path) -> Path:
    """The folder of the files: of a catalog that was updated, that of its current version."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        return files_folder(folder, manifest)
    except (OSError, ValueError, AttributeError):
        return folder  # of another program


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_arrays(folder: Path, path: str) -> ImportedEmbeddings:
    image, text = _first(folder, _IMAGE), _first(folder, _TEXT)
    ids = _first(folder, _ID_FILES)
    if (image is None and text is None) or ids is None:
        raise DataError(
            f"data.embeddings={path}: expected {_IMAGE[0]} (or {', '.join(_IMAGE[1:])}), "
            f"optionally {_TEXT[0]}, and {' or '.join(_ID_FILES)}; it has "
            f"{', '.join(sorted(each.name for each in folder.iterdir())[:12])}"
        )
    arrays = [None if file is None else _array(file) for file in (image, text)]
    first = arrays[0] if arrays[0] is not None else arrays[1]
    assert first is not None
    return ImportedEmbeddings(_read_ids(ids), first, arrays[1] if image is not None else None)


def _array(file: Path) -> NDArray[np.floating[Any]]:
    try:
        array: NDArray[np.floating[Any]] = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as e:
        raise DataError(f"{file} cannot be read as an array of numbers: {e}") from e
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"{file} is an array of {array.dtype} of shape {array.shape}: expected floats of shape "
            "(items, dimensions)"
        )
    return array


def _read_ids(file: Path) -> list[str]:
    """The ids of a file: its lines, its list, or its column of ids."""
    try:
        if file.suffix == ".npy":
            return [str(each) for each in np.load(file, allow_pickle=False).tolist()]
        if file.suffix == ".json":
            return [str(each) for each in json.loads(file.read_text(encoding="utf-8"))]
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            return _id_column(table, str(file))
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError, pa.ArrowException) as e:
        raise DataError(f"{file} cannot be read as a list of ids: {e}") from e
    if lines and lines[0].split(",")[0].strip() in _IDS:
        lines = lines[1:]
    return [line.split(",")[0].strip() for line in lines if line.strip()]


def _id_name(columns: Sequence[str], path: str) -> str:
    """The name of the column of ids."""
    name = next((each for each in _IDS if each in columns), None)
    if name is None:
        raise DataError(
            f"data.embeddings={path}: no column of ids ({', '.join(_IDS)}); it has "
            f"{', '.join(columns[:12])}"
        )
    return name


def _id_column(table: pa.Table, path: str) -> list[str]:
    column = table.column(_id_name(table.column_names, path))
    return [str(each) for each in column.to_pylist()]


def _schema(path: str) -> pa.Schema:
    """The columns of a table, without its values where its form allows it."""
    folder = Path(path).expanduser()
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]
    if files and files[0].suffix == ".parquet" and files[0].is_file():
        try:
            return pq.read_schema(files[0])
        except (OSError, pa.ArrowException) as e:
            raise DataError(f"data.embeddings={path} cannot be read: {str(e)[:300]}") from e
    return _table(path).schema


def _table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table with columns of vectors; of parquet files, the columns that are named."""
    from datasets import concatenate_datasets, load_dataset, load_from_disk  # a slow import

    folder = Path(path).expanduser()
    try:
        if path.startswith(HUB):
            name, _, revision = path.removeprefix(HUB).partition("@")
            return load_dataset(name, split="all", revision=revision or None).data.table
        if folder.is_dir() and any(folder.rglob("*.parquet")):
            return pq.read_table(folder, columns=columns, memory_map=True)
        if folder.is_dir():
            found = load_from_disk(str(folder))
            if isinstance(found, dict):  # a data set of several splits
                found = concatenate_datasets(list(found.values()))
            return found.with_format("arrow")[:]
        if folder.suffix == ".parquet":
            return pq.read_table(folder, columns=columns, memory_map=True)
        if folder.suffix in _JSON:
            return pyarrow.json.read_json(folder)
    except Exception as e:  # datasets and the hub raise various errors
        raise DataError(f"data.embeddings={path} cannot be read: {str(e)[:300]}") from e
    raise DataError(
        f"data.embeddings={path}: no such folder or file; expected a folder of .npy arrays with "
        "ids, a .parquet or .jsonl file, a folder of a Hugging Face data set, or hf:<owner>/<name>"
    )


def _vector_columns(schema: pa.Schema, path: str) -> tuple[str | None, str | None]:
    """The names of the columns with vectors of photos, or of items, and of texts."""
    columns = [
        field.name
        for field in schema
        if pa.types.is_list(field.type)
        or pa.types.is_large_list(field.type)
        or pa.types.is_fixed_size_list(field.type)
        if pa.types.is_floating(field.type.value_type)
    ]
    texts = [name for name in columns if any(word in name.lower() for word in _TEXT_WORDS)]
    images = [name for name in columns if name not in texts]
    if not columns or len(texts) > 1 or len(images) > 1:
        raise DataError(
            f"data.embeddings={path}: expected one column of vectors of photos, and at most one "
            f"of texts (with text in its name); columns of vectors: {', '.join(columns) or 'none'} "
            f"of {', '.join(schema.names[:12])}"
        )
    return images[0] if images else None, texts[0] if texts else None


def _read_cached(path: str, folder: Path) -> ImportedEmbeddings:
    """The embeddings of a table, from the arrays that the cache has of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(f"{folder}.lock", f"embeddings {path}"):
        if not folder.exists():
            schema = _schema(path)
            image, text = _vector_columns(schema, path)
            wanted = (_id_name(schema.names, path), image, text)
            table = _table(path, [name for name in wanted if name is not None])
            ids = _id_column(table, path)
            partial = folder.with_name(f"{folder.name}.partial")
            partial.mkdir(exist_ok=True)
            for name, file in ((image or text, _IMAGE[0]), (text if image else None, _TEXT[0])):
                if name is not None:
                    np.save(partial / file, _vectors(table.column(name), name, ids, path))
            (partial / "ids.json").write_text(json.dumps(ids))
            partial.rename(folder)
    return _read_arrays(folder, path)


def _vectors(
    column: pa.ChunkedArray, name: str, ids: Sequence[str], path: str
) -> NDArray[np.float32]:
    """The vectors of a column, (M, D); zero where there is none."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    width = int(lengths.max(initial=0))
    wrong = np.flatnonzero((lengths != width) & (lengths != 0))
    if len(wrong) or not width:
        raise DataError(
            f"data.embeddings={path}: the vectors of {name} differ in length: {ids[0]} has "
            f"{lengths[0]}, {ids[wrong[0]]} {lengths[wrong[0]]}"
            if len(wrong)
            else f"data.embeddings={path}: {name} has no vectors"
        )
    vectors = np.zeros((len(column), width), dtype=np.float32)
    values = pc.list_flatten(column).to_numpy().reshape(-1, width)
    vectors[lengths == width] = values
    return vectors


def _check(found: ImportedEmbeddings, path: str) -> None:
    """Raise DataError unless ids and finite vectors fit together."""
    if len(set(found.ids)) < len(found.ids):
        seen: set[str] = set()
        double = next(each for each in found.ids if each in seen or seen.add(each))  # type: ignore[func-returns-value]
        raise DataError(f"data.embeddings={path}: the id {double} stands there twice")
    for name, array in (("photos", found.image), ("texts", found.text)):
        if array is None:
            continue
        if len(array) != len(found.ids):
            raise DataError(
                f"data.embeddings={path}: {len(array)} vectors of {name}, {len(found.ids)} ids"
            )
        if array.shape[1] != found.image.shape[1]:
            raise DataError(
                f"data.embeddings={path}: photos have {found.image.shape[1]} dimensions, texts "
                f"{array.shape[1]}: they are not of one space; give those of photos alone"
            )
        bad: list[int] = []
        for start in range(0, len(array), _BLOCK):
            finite = np.isfinite(array[start : start + _BLOCK]).all(axis=1)
            bad += (start + np.flatnonzero(~finite)).tolist()
        if bad:
            named = ", ".join(found.ids[row] for row in bad[:_NAMED])
            raise DataError(
                f"data.embeddings={path}: the vectors of {len(bad)} {name} contain NaN or Inf: "
                f"{named}{', ...' if len(bad) > _NAMED else ''}"
            )


def embeddings_key(parts: Sequence[str]) -> str:
    """Return a short hash of the names and hashes of an export's files."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
