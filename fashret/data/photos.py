"""Decoding of photos in any common format to upright RGB pixels."""

import io
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from fashret.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
"""File name endings of the photos that are found in a folder."""

_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    *(["AVIF"] if features.check("avif") else []),
)

_MAX_ASPECT_RATIO = 50
"""Resized to a square of some hundred pixels, such a photo keeps a few pixels of its short side."""

_BROKEN_TAGS = (TypeError, AttributeError, struct.error, ValueError, OSError, SyntaxError, KeyError)
"""Errors that Pillow raises for damaged EXIF tags of photos whose pixels are intact."""


def decode_photo(
    encoded: bytes, *, min_side: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Decode a photo completely to upright RGB.

    An animation gives its first frame; transparency is blended with white; 16-bit samples are
    scaled to 8 bits; greyscale, palette and CMYK are converted; the EXIF orientation is applied.

    Args:
        encoded: the bytes of the photo's file.
        min_side: pixels that the shorter side must keep. A JPEG that is at least twice as large
            is decoded at 1/2, 1/4 or 1/8 of its size, which is much faster. None decodes at full
            size.
        max_pixels: largest number of pixels that the file's header may declare; a larger photo is
            rejected before it is decoded. None for Pillow's own limit, 89 million.

    Raises:
        DataError: the bytes are not a complete photo of a known format, or it has too many pixels.
    """
    try:
        photo: Image.Image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        # Pillow itself only warns here, and filters of warnings are not for several threads.
        if photo.width * photo.height > (max_pixels or Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError(
                f"{photo.width} x {photo.height} pixels are too many; at most "
                f"{max_pixels or Image.MAX_IMAGE_PIXELS:,} are accepted: make it smaller"
            )
        _check_shape(photo)
        photo.seek(0)
        if min_side is not None:
            photo.draft(None, (min_side, min_side))
        photo.load()
        return _to_rgb(_upright(photo))
    except UnidentifiedImageError as e:
        raise DataError(f"not a photo in one of the formats {', '.join(_FORMATS)}") from e
    except (
        *(OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError),
        *(TypeError, AttributeError, KeyError, RuntimeError, struct.error),  # of damaged files
    ) as e:
        raise DataError(f"not a readable photo: {e}") from e


def upright_rgb(photo: Image.Image) -> Image.Image:
    """Convert an opened photo to upright RGB, as `decode_photo` does.

    Raises:
        DataError: it cannot be read to its end, or is too long and narrow.
    """
    _check_shape(photo)
    try:
        return _to_rgb(_upright(photo))
    except (OSError, ValueError, SyntaxError, TypeError, struct.error) as e:
        raise DataError(f"not a readable photo: {e}") from e


def read_photo(path: Path) -> bytes:
    """Read the bytes of a photo's file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: no such name, with a NUL in it
        raise DataError(f"file {path} cannot be read: {getattr(e, 'strerror', e)}") from e


def _check_shape(photo: Image.Image) -> None:
    if min(photo.size) < 1 or max(photo.size) > _MAX_ASPECT_RATIO * min(photo.size):
        raise DataError(
            f"not a usable photo: {photo.width} x {photo.height} pixels, and the longer side "
            f"may be at most {_MAX_ASPECT_RATIO} times the shorter one"
        )


def _upright(photo: Image.Image) -> Image.Image:
    """Rotate a photo by its EXIF orientation; unchanged where its tags cannot be read."""
    try:
        return ImageOps.exif_transpose(photo)
    except _BROKEN_TAGS:
        return photo


def _to_rgb(photo: Image.Image) -> Image.Image:
    """Convert a photo to 8-bit RGB."""
    if photo.mode.startswith("I") or photo.mode == "F":
        samples = np.asarray(photo, dtype=np.float64)
        if not np.isfinite(samples).all():
            raise DataError("not a usable photo: its samples contain NaN or Inf")
        highest = float(samples.max())
        if photo.mode.startswith("I;16"):
            peak = 65535.0  # 16-bit files use the whole range
        elif photo.mode == "F" and highest <= 1.0:
            peak = 1.0  # floating-point samples are from 0 to 1
        else:
            peak = max(255.0, highest)  # 32-bit files of scanners seldom use the whole range
        photo = Image.fromarray((samples / peak * 255.0).clip(0, 255).astype(np.uint8))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        photo = Image.new("RGBA", layer.size, "white")
        photo.alpha_composite(layer)
    return photo.convert("RGB")
