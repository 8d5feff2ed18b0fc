"""Reading and checking of a source's photos by several threads."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from fashret.cpu import cores
from fashret.data.draft import SeenIds
from fashret.data.photo_copies import SIGNATURE_BYTES, signature
from fashret.data.photos import decode_photo, read_photo
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.errors import DataError
from fashret.progress import progress

log = logging.getLogger(__name__)

_HASH_BYTES = 16
_LINE = 2 * _HASH_BYTES + 1 + 2 * SIGNATURE_BYTES
"""Characters of a photo's line in the resume log."""

_PART = 64
"""Photos that a thread reads and checks at a time."""


class ResumeLog:
    """A log of the photos that were checked, from which an interrupted preparation resumes.

    Attributes:
        signatures: signatures of the checked photos' pixels, by the hashes of their bytes.

    Args:
        path: the log file, to which lines are appended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [line.split() for line in lines if len(line) == _LINE]  # the last may be cut off
        self.signatures = {digest: bytes.fromhex(encoded) for digest, encoded in entries}
        if self.signatures:
            log.info("resuming: %d photos are checked already", len(self.signatures))
        self._file = path.open("a")

    def add(self, photos: Iterable[tuple[str, bytes]]) -> None:
        """Append checked photos: hashes of their bytes and signatures of their pixels."""
        self._file.writelines(f"{digest} {encoded.hex()}\n" for digest, encoded in photos)
        self._file.flush()

    def delete(self) -> None:
        """Close and delete the log, once the table is complete."""
        self._file.close()
        self.path.unlink()


def checked_items(
    source: Source, report: Report, resume_log: ResumeLog
) -> Iterator[tuple[Item, bytes, str, bytes]]:
    """Yield the items that have a readable photo and a unique id.

    Args:
        source: the data source.
        report: counts the items that are dropped.
        resume_log: the log of checked photos.

    Yields:
        The item, its photo's bytes, their hash, and the signature that copies are found by.
    """
    seen = SeenIds()
    items = source.items(report)
    stream = progress(items, desc=f"preparing {source.name}", unit=" items")
    for part, loaded in _read_ahead(iter(stream), resume_log.signatures):
        resume_log.add(
            photo[1:]
            for photo in loaded
            if not isinstance(photo, DataError) and photo[1] not in resume_log.signatures
        )
        for item, photo in zip(part, loaded, strict=True):
            if item.split is not None and source.stated_splits:
                report.stated_splits.add(item.split)
            where = item.origin or item.item_id
            if isinstance(photo, DataError):
                missing = isinstance(item.image, Path) and not os.path.exists(item.image)
                report.drop("missing photo" if missing else "corrupt photo", f"{where}: {photo}")
            elif not seen.add(item.item_id):
                report.drop("duplicate item_id", f"{where}: {item.item_id}")
            else:
                yield item, *photo


_Photo = tuple[bytes, str, bytes]
_Loaded = list[_Photo | DataError]


def _read_ahead(
    items: Iterator[Item], signatures: Mapping[str, bytes]
) -> Iterator[tuple[list[Item], _Loaded]]:
    """Yield items in order with their photos, which threads read ahead and check."""
    threads = cores()
    waiting: deque[tuple[list[Item], Future[_Loaded]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while part := list(islice(items, _PART)):
            waiting.append((part, pool.submit(_load_all, part, signatures)))
            if len(waiting) > 2 * threads:
                part, loaded = waiting.popleft()
                yield part, loaded.result()
        for part, loaded in waiting:
            yield part, loaded.result()


def _load_all(items: Sequence[Item], signatures: Mapping[str, bytes]) -> _Loaded:
    return [_load(item, signatures) for item in items]


def _load(item: Item, signatures: Mapping[str, bytes]) -> _Photo | DataError:
    """Load an item's photo, the hash of its bytes and its signature; an error if it is unreadable.

    Args:
        item: the item.
        signatures: signatures of photos that were checked before, by the hashes of their bytes.
    """
    try:
        encoded = item.image if isinstance(item.image, bytes) else read_photo(item.image)
        digest = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).hexdigest()
        photo_signature = signatures.get(digest) or signature(decode_photo(encoded))
    except DataError as e:
        return e
    return encoded, digest, photo_signature
