"""The entries of the cache: what they are, what removing them costs, and whether they are whole."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fashret.errors import CatalogError, FashretError

KINDS = ("data", "features", "catalogs", "embeddings", "weights")
"""The folders of the cache."""

LEFTOVER = "leftover"

_DAY = 86_400.0


@dataclass(frozen=True)
class CacheEntry:
    """An entry of the cache.

    Attributes:
        path: its folder or file.
        kind: data, features, catalogs, weights, or leftover for what a killed command left.
        size: its bytes on disk.
        used: when it was last used or written, in seconds since the epoch.
        about: what it holds: items, model and data.
        cost: what removing it costs.
    """

    path: Path
    kind: str
    size: int
    used: float
    about: str
    cost: str

    @property
    def name(self) -> str:
        """The name of the entry."""
        return self.path.name


def cache_entries(folder: Path) -> list[CacheEntry]:
    """List the entries of a cache, the last used first."""
    entries = [_entry(path, kind) for kind in KINDS for path in _paths(folder / kind)]
    return sorted(entries, key=lambda entry: entry.used, reverse=True)


def to_remove(
    entries: Sequence[CacheEntry],
    *,
    names: Sequence[str] = (),
    older_than: float | None = None,
    max_size: float | None = None,
    leftovers: bool = False,
) -> list[CacheEntry]:
    """Choose entries to remove: those that any of the criteria names.

    Args:
        entries: the entries, the last used first.
        names: names of entries.
        older_than: entries that were not used for so many days; not weights, whose use is not
            noted.
        max_size: the least recently used entries, until the others take so many bytes; not weights.
        leftovers: what killed commands left.

    Raises:
        CatalogError: there is no entry of a name.
    """
    known = {entry.name for entry in entries}
    for name in names:
        if name not in known:
            raise CatalogError(f"the cache has no entry '{name}': fashret cache lists the entries")
    chosen, total = [], 0
    for entry in entries:
        total += entry.size
        age = (time.time() - entry.used) / _DAY
        is_noted = entry.kind != "weights"
        if (
            entry.name in names
            or (is_noted and older_than is not None and age > older_than)
            or (is_noted and max_size is not None and total > max_size)
            or (leftovers and entry.kind == LEFTOVER)
        ):
            chosen.append(entry)
    return chosen


def remove_entry(entry: CacheEntry) -> None:
    """Remove an entry, unless a command is writing it.

    Raises:
        CatalogError: another process holds its lock.
    """
    path = entry.path
    locks = [path.with_name(f"{path.name.removesuffix('.partial')}.lock"), *path.glob("*/lock")]
    held = []
    try:
        for lock in locks:
            if lock.exists():
                held.append(FileLock(lock))
                held[-1].acquire(timeout=0)
        # Renamed first: a killed removal leaves nothing that looks whole.
        doomed = path.with_name(f"{path.name.removesuffix('.partial')}.removed.partial")
        if path != doomed:
            if doomed.exists():  # of a removal that was killed
                shutil.rmtree(doomed)
            path.rename(doomed)
        if doomed.is_dir():
            shutil.rmtree(doomed)
        else:
            doomed.unlink()
    except Timeout as e:
        raise CatalogError(f"{path.name} is in use by another process: it was not removed") from e
    finally:
        for each in held:
            with suppress(OSError):
                each.release()
    locks[0].unlink(missing_ok=True)


def verify_entry(entry: CacheEntry) -> str:
    """Check an entry against its checksums.

    Returns:
        What is wrong with it; empty if nothing is, or if the entry has no checksums.
    """
    from fashret.catalog.feature_store import FeatureStore
    from fashret.catalog.folder import open_catalog, verify

    try:
        if entry.kind == "catalogs":
            verify(open_catalog(entry.path))
        if entry.kind == "features":
            for path in sorted(entry.path.iterdir()):
                if wrong := FeatureStore(path).verify():
                    return f"{wrong} features of {path.name} differ: they are encoded again"
    except FashretError as e:
        return str(e)
    return ""


def _paths(folder: Path) -> Iterator[Path]:
    """The entries of one kind, without lock files and the database of hashes."""
    if folder.is_dir():
        for path in folder.iterdir():
            if not path.name.endswith((".lock", ".sqlite", ".sqlite-journal")):
                yield path


def _entry(path: Path, kind: str) -> CacheEntry:
    leftover = path.name.endswith(".partial")
    about, cost = (
        ("of a command that was killed, or is at work", "") if leftover else _about(path, kind)
    )
    return CacheEntry(
        path,
        LEFTOVER if leftover else kind,
        _bytes(path),
        path.stat().st_mtime,
        about,
        cost or "what it had done is done again",
    )


def _about(path: Path, kind: str) -> tuple[str, str]:
    """What an entry holds, and what removing it costs."""
    if kind == "data":
        items = _json(path / "report.json").get("rows_kept", "?")
        return f"{items} items", "the data set is read and checked again"
    if kind == "catalogs":
        manifest = _json(path / "manifest.json")
        about = f"{manifest.get('count', '?')} items by {manifest.get('model', '?')}"
        if (path / "features_img.npy").exists():
            return about, "its photos and texts are encoded again"
        return about, "written again from the stored features"
    if kind == "features":
        counts = {name: _rows(path / name) for name in ("image", "text")}
        encoder = _json(path / "image" / "store.json").get("encoder", {})
        what = f"{counts['image']} photos and {counts['text']} texts"
        return f"{what} by {encoder.get('architecture', '?')}", f"{what} are encoded again"
    if kind == "embeddings":
        return "imported vectors", "read again from their export"
    return "downloaded", "downloaded again"


def _rows(store: Path) -> int:
    keys = store / "keys.bin"
    return keys.stat().st_size // 20 if keys.exists() else 0


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for each in path.rglob("*"):
        with suppress(OSError):  # it was removed meanwhile
            total += each.stat().st_size if each.is_file() else 0
    return total
