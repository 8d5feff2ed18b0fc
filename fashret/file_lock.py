"""A lock between commands; whoever waits says for what."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds that are waited without a word."""


@contextmanager
def file_lock(path: str | Path, what: str) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: of the lock file.
        what: it is about, for the message of a command that waits: "the data sample".
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        log.info("waiting for another process that prepares %s (it holds %s)", what, path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
