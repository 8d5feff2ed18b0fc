"""Reading and checking of a source's photos by several threads."""

import hashlib
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
_LINE = 2 * _HASH_BYTES + 1 + 2 * SIGNATURE_BYTES + 1
"""Bytes of a photo's line in the log: two hexadecimal numbers."""

_PART = 64
"""Photos that a thread reads and checks at a time."""

_A_LINE = re.compile(rb"[0-9a-f]{%d} [0-9a-f]{%d}\n" % (2 * _HASH_BYTES, 2 * SIGNATURE_BYTES))

_REMEMBERED = 100_000
"""Photos of a preparation whose signatures are not computed again when other items show them."""

_READ = 65_536
"""Lines that are read at a time."""


class ResumeLog:
    """A log of the photos that were checked, from which an interrupted preparation resumes.

    Args:
        path: the log file, to which lines are appended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recent: dict[str, bytes] = {}
        lines = _whole_lines(path)
        if path.exists():
            os.truncate(path, lines * _LINE)
        self._lines = np.memmap(path, f"S{_LINE}", "r", shape=(lines,)) if lines else None
        self._prefixes, self._order = self._sorted_prefixes()
        if lines:
            log.info("resuming: %d photos are checked already", lines)
        self._file = path.open("ab")

    def find(self, digest: str) -> bytes | None:
        """Return the signature of a photo that was checked, by the hash of its bytes."""
        if (found := self._recent.get(digest)) is not None or self._lines is None:
            return found
        prefix = np.uint64(int(digest[:16], 16))
        at = int(np.searchsorted(self._prefixes, prefix))
        while at < len(self._prefixes) and self._prefixes[at] == prefix:
            line = bytes(self._lines[self._order[at]]).split()
            if line[0] == digest.encode():
                return bytes.fromhex(line[1].decode())
            at += 1
        return None

    def add(self, photos: Iterable[tuple[str, bytes]]) -> None:
        """Append checked photos: hashes of their bytes and signatures of their pixels."""
        new = {digest: encoded for digest, encoded in photos if self.find(digest) is None}
        self._file.writelines(f"{d} {encoded.hex()}\n".encode() for d, encoded in new.items())
        self._file.flush()
        if len(self._recent) < _REMEMBERED:
            self._recent |= new

    def delete(self) -> None:
        """Close and delete the log, once the table is complete."""
        self._file.close()
        self.path.unlink()

    def _sorted_prefixes(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The first 8 bytes of the hashes in the log, ascending, and their lines."""
        count = 0 if self._lines is None else len(self._lines)
        prefixes = np.empty(count, dtype=np.uint64)
        for start in range(0, count, _READ):
            assert self._lines is not None
            part = self._lines[start : start + _READ].astype("S16")  # the first 16 digits
            prefixes[start : start + len(part)] = [int(digits, 16) for digits in part.tolist()]
        order = np.argsort(prefixes, kind="stable")
        return prefixes[order], order


def _whole_lines(path: Path) -> int:
    """Count the whole lines at the beginning of a log: the last of a killed run may be cut off."""
    if not path.exists():
        return 0
    count, stated = 0, path.stat().st_size // _LINE
    with path.open("rb") as file:
        while block := file.read(_READ * _LINE):
            lines = [block[at : at + _LINE] for at in range(0, len(block), _LINE)]
            whole = next((i for i, line in enumerate(lines) if not _A_LINE.fullmatch(line)), None)
            if whole is not None:
                count += whole
                break
            count += len(lines)
    if count < stated:
        log.warning("%s is damaged after %d photos: the others are checked again", path, count)
    return count


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
    for part, loaded in _read_ahead(iter(stream), resume_log):
        resume_log.add(photo[1:] for photo in loaded if not isinstance(photo, DataError))
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
    items: Iterator[Item], resume_log: ResumeLog
) -> Iterator[tuple[list[Item], _Loaded]]:
    """Yield items in order with their photos, which threads read ahead and check."""
    threads = cores()
    waiting: deque[tuple[list[Item], Future[_Loaded]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while part := list(islice(items, _PART)):
            waiting.append((part, pool.submit(_load_all, part, resume_log)))
            if len(waiting) > 2 * threads:
                part, loaded = waiting.popleft()
                yield part, loaded.result()
        for part, loaded in waiting:
            yield part, loaded.result()


def _load_all(items: Sequence[Item], resume_log: ResumeLog) -> _Loaded:
    return [_load(item, resume_log) for item in items]


def _load(item: Item, resume_log: ResumeLog) -> _Photo | DataError:
    """Load an item's photo, the hash of its bytes and its signature; an error if it is unreadable.

    Args:
        item: the item.
        resume_log: the log of photos that were checked before.
    """
    try:
        encoded = item.image if isinstance(item.image, bytes) else read_photo(item.image)
        digest = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).hexdigest()
        photo_signature = resume_log.find(digest) or signature(decode_photo(encoded))
    except DataError as e:
        return e
    return encoded, digest, photo_signature
