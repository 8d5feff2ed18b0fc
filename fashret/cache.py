"""Where prepared data, catalogs and weights are kept for all runs."""

import os
from pathlib import Path

CACHE = "FASHRET_CACHE"
"""The environment variable that names another place."""


def default_cache_dir() -> Path:
    """Return the folder that `FASHRET_CACHE` names, else `~/.cache/fashret`."""
    return Path(os.environ.get(CACHE) or "~/.cache/fashret").expanduser()
