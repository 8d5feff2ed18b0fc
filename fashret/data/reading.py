"""Read a source's photos and see that each is whole, by several threads at once."""

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from fashret.data.machine import cores
from fashret.data.photos import decode_photo, read_photo
from fashret.data.report import Report
from fashret.data.source import Item, Source
from fashret.errors import DataError
from fashret.progress import progress

log = logging.getLogger(__name__)

_PART = 64
"""Photos that a thread reads and checks at a time."""


class Journal:
    """Which photos were found whole, by their bytes: a preparation that was killed goes on there.

    Args:
        path: a file that is added to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = set(path.read_text().split()) if path.exists() else set()
        if self.known:
            log.info("going on: %d photos are known to be whole", len(self.known))
        self._file = path.open("a")

    def add(self, hashes: Iterable[str]) -> None:
        """Photos that were found whole."""
        self._file.writelines(f"{found}\n" for found in hashes)
        self._file.flush()

    def close(self) -> None:
        """The table is whole: nothing goes on from here."""
        self._file.close()
        self.path.unlink()


def checked(source: Source, report: Report, journal: Journal) -> Iterator[tuple[Item, bytes, str]]:
    """The items that have a whole photo and an id of their own, with its bytes and their hash."""
    seen: set[str] = set()
    items = source.items(report)
    stream = progress(items, desc=f"preparing {source.name}", unit=" items")
    for part, loaded in _read_ahead(iter(stream), journal.known):
        journal.add(
            found[1]
            for found in loaded
            if not isinstance(found, DataError) and found[1] not in journal.known
        )
        for item, found in zip(part, loaded, strict=True):
            where = item.origin or item.item_id
            if isinstance(found, DataError):
                missing = isinstance(item.image, Path) and not item.image.exists()
                report.drop("missing photo" if missing else "corrupt photo", f"{where}: {found}")
            elif item.item_id in seen:
                report.drop("duplicate item_id", f"{where}: {item.item_id}")
            else:
                seen.add(item.item_id)
                yield item, *found


_Loaded = list[tuple[bytes, str] | DataError]


def _read_ahead(items: Iterator[Item], known: Set[str]) -> Iterator[tuple[list[Item], _Loaded]]:
    """Items in order with their photos, which threads read and check while others are stored."""
    threads = cores()
    waiting: deque[tuple[list[Item], Future[_Loaded]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while part := list(islice(items, _PART)):
            waiting.append((part, pool.submit(_load_all, part, known)))
            if len(waiting) > 2 * threads:
                part, loaded = waiting.popleft()
                yield part, loaded.result()
        for part, loaded in waiting:
            yield part, loaded.result()


def _load_all(items: Sequence[Item], known: Set[str]) -> _Loaded:
    return [_load(item, known) for item in items]


def _load(item: Item, known: Set[str]) -> tuple[bytes, str] | DataError:
    """An item's photo and the hash of its bytes if it decodes, else why not.

    Args:
        item: whose photo.
        known: hashes of photos that decode.
    """
    try:
        encoded = item.image if isinstance(item.image, bytes) else read_photo(item.image)
        found = hashlib.blake2b(encoded, digest_size=16).hexdigest()
        if found not in known:
            decode_photo(encoded)
    except DataError as e:
        return e
    return encoded, found
