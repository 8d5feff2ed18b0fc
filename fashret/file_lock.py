"""A lock file between processes, with a log message for the process that waits."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds to wait before the log message."""


@contextmanager
def file_lock(path: str | Path, what: str) -> Iterator[None]:
    """Hold a lock file; wait while another process holds it.

    Args:
        path: the lock file.
        what: what the lock protects, for the message of a process that waits: "the data sample".
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        log.info("waiting for another process that prepares %s (lock file %s)", what, path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
