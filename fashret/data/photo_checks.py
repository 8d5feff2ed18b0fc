"""Read a source's photos and see that each is whole, by several threads at once."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from fashret.cpu import cores
from fashret.data.photo_copies import SIGNATURE_BYTES, signature
from fashret.data.photos import decode_photo, read_photo
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.errors import DataError
from fashret.progress import progress

log = logging.getLogger(__name__)

_HASH_BYTES = 16
_LINE = 2 * _HASH_BYTES + 1 + 2 * SIGNATURE_BYTES
"""Characters of a photo's line in the journal."""

_PART = 64
"""Photos that a thread reads and checks at a time."""


class Journal:
    """The photos that were found whole: a preparation that was killed goes on there.

    Attributes:
        known: signatures of their pixels by the hashes of their bytes.

    Args:
        path: a file that is added to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [line.split() for line in lines if len(line) == _LINE]  # the last may be torn
        self.known = {found: bytes.fromhex(encoded) for found, encoded in entries}
        if self.known:
            log.info("going on: %d photos are known to be whole", len(self.known))
        self._file = path.open("a")

    def add(self, photos: Iterable[tuple[str, bytes]]) -> None:
        """Photos that were found whole: hashes of their bytes and signatures of their pixels."""
        self._file.writelines(f"{found} {encoded.hex()}\n" for found, encoded in photos)
        self._file.flush()

    def close(self) -> None:
        """The table is whole: nothing goes on from here."""
        self._file.close()
        self.path.unlink()


def checked(
    source: Source, report: Report, journal: Journal
) -> Iterator[tuple[Item, bytes, str, bytes]]:
    """The items that have a whole photo and an id of their own.

    Yields:
        The item, its photo's bytes, their hash, and the signature that copies are found by.
    """
    seen: set[str] = set()
    items = source.items(report)
    stream = progress(items, desc=f"preparing {source.name}", unit=" items")
    for part, loaded in _read_ahead(iter(stream), journal.known):
        journal.add(
            found[1:]
            for found in loaded
            if not isinstance(found, DataError) and found[1] not in journal.known
        )
        for item, found in zip(part, loaded, strict=True):
            if item.split is not None and source.stated_splits:
                report.stated_splits.add(item.split)
            where = item.origin or item.item_id
            if isinstance(found, DataError):
                missing = isinstance(item.image, Path) and not os.path.exists(item.image)
                report.drop("missing photo" if missing else "corrupt photo", f"{where}: {found}")
            elif item.item_id in seen:
                report.drop("duplicate item_id", f"{where}: {item.item_id}")
            else:
                seen.add(item.item_id)
                yield item, *found


_Photo = tuple[bytes, str, bytes]
_Loaded = list[_Photo | DataError]


def _read_ahead(
    items: Iterator[Item], known: Mapping[str, bytes]
) -> Iterator[tuple[list[Item], _Loaded]]:
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


def _load_all(items: Sequence[Item], known: Mapping[str, bytes]) -> _Loaded:
    return [_load(item, known) for item in items]


def _load(item: Item, known: Mapping[str, bytes]) -> _Photo | DataError:
    """An item's photo, the hash of its bytes and its signature if it decodes, else why not.

    Args:
        item: whose photo.
        known: signatures of photos that decode, by the hashes of their bytes.
    """
    try:
        encoded = item.image if isinstance(item.image, bytes) else read_photo(item.image)
        found = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).hexdigest()
        copied_by = known.get(found) or signature(decode_photo(encoded))
    except DataError as e:
        return e
    return encoded, found, copied_by
