"""Hashes of files' contents, cached in a database and recomputed for changed files only."""

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from stat import S_ISREG

from fashret.cpu import cores
from fashret.errors import DataError
from fashret.progress import progress

_BLOCK = 1 << 20
_Stamp = tuple[int, int, int]
"""Size and times of change of contents and of the entry: equal ones need no reading again."""


def contents_digest(files: Sequence[tuple[str, str | Path]], index: Path) -> str:
    """Compute one digest of the names and contents of files.

    It does not depend on the files' location or time of writing. A file whose size and times of
    change are those in the index is not read again.

    Args:
        files: name and path of each file, at least one, in a fixed order. A missing file is part of
            the digest as such.
        index: path of the database of cached hashes; created if it does not exist.

    Raises:
        DataError: a file cannot be read, or the index cannot be written.
    """
    paths = [os.fspath(path) for _, path in files]
    paths = [path if os.path.isabs(path) else os.path.abspath(path) for path in paths]
    index.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(index, timeout=600)) as database:
            hashes = _hashes(paths, database)
    except sqlite3.Error as e:
        raise DataError(f"{index}, which keeps the hashes of data files, fails: {e}") from e
    whole = hashlib.blake2b(digest_size=16)
    for (name, _), path in zip(files, paths, strict=True):
        whole.update(f"{name}\0{hashes.get(path)}\n".encode(errors="surrogatepass"))
    return whole.hexdigest()


def _hashes(paths: list[str], database: sqlite3.Connection) -> dict[str, str]:
    """Hashes by path of the files that exist, from the index or from their contents."""
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size, changed, moved, hash)"
        )
    encoded = {_key(path): path for path in paths}
    query = "SELECT path, size, changed, moved, hash FROM files WHERE path BETWEEN ? AND ?"
    rows = database.execute(query, (min(encoded), max(encoded)))  # a set's files lie together
    cached = {encoded[row[0]]: row[1:] for row in rows if row[0] in encoded}
    hashes: dict[str, str] = {}
    changed: dict[str, _Stamp] = {}
    for path in encoded.values():
        try:
            stat = os.stat(path)
        except (OSError, ValueError):  # no such file, no such name
            continue
        if not S_ISREG(stat.st_mode):
            continue
        stamp, entry = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns), cached.get(path)
        if entry is not None and entry[:3] == stamp:
            hashes[path] = entry[3]
        else:
            changed[path] = stamp
    bar = progress(
        total=sum(stamp[0] for stamp in changed.values()),
        desc="hashing data files",
        unit="B",
        unit_scale=True,
        delay=2,
    )
    with ThreadPoolExecutor(cores()) as pool, bar:
        pending = iter(changed)
        while part := list(islice(pending, 64 * cores())):
            new = dict(zip(part, pool.map(_hash, part), strict=True))
            hashes |= new
            entries = [(_key(path), *changed[path], new[path]) for path in part]
            with database:  # an interrupted run resumes from here
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", entries)
            bar.update(sum(changed[path][0] for path in part))
    return hashes


def _key(path: str) -> bytes:
    """A path as the index has it, whatever bytes its name is of."""
    return path.encode(errors="surrogatepass")


def _hash(path: str) -> str:
    whole = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                whole.update(block)
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    return whole.hexdigest()
