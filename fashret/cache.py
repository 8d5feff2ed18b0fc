"""The cache: the folder of prepared data, catalogs and weights that all runs share."""

import os
from contextlib import suppress
from pathlib import Path

CACHE = "FASHRET_CACHE"
"""The environment variable with the folder of the cache."""


def default_cache_dir() -> Path:
    """Return the folder that `FASHRET_CACHE` names, else `~/.cache/fashret`."""
    return Path(os.environ.get(CACHE) or "~/.cache/fashret").expanduser()


def mark_used(path: Path) -> None:
    """Note that an entry of the cache is used now; a cache that is read-only is left as it is."""
    with suppress(OSError):
        os.utime(path)
