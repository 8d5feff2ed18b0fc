"""Disk space: what is free, and an error before work that does not fit."""

import shutil
from pathlib import Path

from fashret.errors import CatalogError


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check before long work that its results fit on the disk.

    Args:
        folder: the folder to write to; it need not exist yet.
        needed: bytes that will be written.
        what: what takes them, for the message.

    Raises:
        CatalogError: less is free.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CatalogError(
            f"{what} take {readable_bytes(needed)}, and {folder} has {readable_bytes(free)} left: "
            "remove what is not needed (fashret cache lists it), or choose another folder "
            "(paths.cache_dir, catalog.dir)"
        )


def readable_bytes(count: float) -> str:
    """Write a number of bytes for people: 3 B, 12 kB, 4.1 GB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
