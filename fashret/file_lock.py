"""A lock file between processes, with a log message for the process that waits."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fashret.errors import DataError

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds to wait before the log message."""


@contextmanager
def file_lock(path: str | Path, what: str) -> Iterator[None]:
    """Hold a lock file; wait while another process holds it.

    Args:
        path: the lock file.
        what: what the lock protects, for the message of a process that waits: "the data sample".

    Raises:
        DataError: the lock file cannot be written.
    """
    lock = FileLock(path)
    try:
        Path(path).touch()  # where no file can be made, the lock would be waited for for ever
    except OSError as e:
        raise DataError(f"{path} cannot be written ({e.strerror}), which protects {what}") from e
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        log.info("waiting for another process that prepares %s (lock file %s)", what, path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
