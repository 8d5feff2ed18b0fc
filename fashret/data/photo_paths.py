"""Paths of photos as tables write them."""

import os
import unicodedata
from pathlib import Path


def photo_below(root: Path, image: str) -> Path | None:
    """Return the path of a photo that a table names; None for a URL, and for one outside the root.

    Backslashes, `file://`, and accents that are written as letters of their own are understood.
    """
    image = image.removeprefix("file://")
    if "://" in image:
        return None
    path = root / image
    if "\\" in image and not os.path.exists(path):  # written by Windows
        path = root / image.replace("\\", "/")
    if not image.isascii() and not os.path.exists(path):  # Macs part accents from letters
        forms = (root / unicodedata.normalize(form, image) for form in ("NFC", "NFD"))
        path = next(filter(os.path.exists, forms), path)
    inside = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
    return path if inside else None
