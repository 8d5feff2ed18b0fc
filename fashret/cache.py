"""The cache: the folder of prepared data, catalogs and weights that all runs share."""

import os
from pathlib import Path

CACHE = "FASHRET_CACHE"
"""The environment variable with the folder of the cache."""


def default_cache_dir() -> Path:
    """Return the folder that `FASHRET_CACHE` names, else `~/.cache/fashret`."""
    return Path(os.environ.get(CACHE) or "~/.cache/fashret").expanduser()
