"""Where the files of a catalog folder's current version are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def files_folder(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Return the folder of the files that a manifest describes.

    Args:
        folder: the catalog folder.
        manifest: its parsed manifest.json.

    Returns:
        The catalog folder itself for the first version, else `version-<number>` in it.
    """
    version = int(manifest.get("version", 1))
    return folder if version <= 1 else folder / f"version-{version}"
