"""Photos as a person sees them: any file that a shop might hold, as RGB pixels."""

import io
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from fashret.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
"""The endings of the files that a folder of photos is searched for."""

_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    *(["AVIF"] if features.check("avif") else []),
)

_MOST_ELONGATED = 50
"""What a model resizes to a square of some hundred pixels keeps at least a few of them."""

_BROKEN_TAGS = (TypeError, AttributeError, struct.error, ValueError, OSError, SyntaxError, KeyError)
"""What Pillow raises where EXIF tags are damaged, while the pixels are whole."""


def decode_photo(
    encoded: bytes, *, least: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Decode a photo, whole, to upright RGB.

    The first frame of an animation; transparency over white; 16-bit samples scaled to 8 bits;
    greyscale, palette and CMYK converted; the EXIF orientation applied.

    Args:
        encoded: the file.
        least: pixels that are enough for the shorter side. A JPEG that is at least twice as large
            is decoded at 1/2, 1/4 or 1/8 of its size, which is much faster: the decoder leaves
            out what the smaller picture does not need. None decodes all there is.
        max_pixels: the most that the file's header may announce; a larger photo is refused before
            it is decoded. None for what Pillow holds safe, 89 million.

    Raises:
        DataError: the bytes are not a whole photo of a known format, or one of too many pixels.
    """
    try:
        photo: Image.Image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        # Pillow itself only warns here, and filters of warnings are not for several threads.
        if photo.width * photo.height > (max_pixels or Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError(
                f"{photo.width} x {photo.height} pixels are too many; at most "
                f"{max_pixels or Image.MAX_IMAGE_PIXELS:,} are accepted: make it smaller"
            )
        if max(photo.size) > _MOST_ELONGATED * min(photo.size):
            raise DataError(
                f"not a usable photo: {photo.width} x {photo.height} pixels, and the longer side "
                f"may be at most {_MOST_ELONGATED} times the shorter one"
            )
        photo.seek(0)
        if least is not None:
            photo.draft(None, (least, least))
        photo.load()
        return _to_rgb(_upright(photo))
    except UnidentifiedImageError as e:
        raise DataError(f"not a photo in one of the formats {', '.join(_FORMATS)}") from e
    except (
        *(OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError),
        *(TypeError, AttributeError, KeyError, RuntimeError, struct.error),  # of damaged files
    ) as e:
        raise DataError(f"not a readable photo: {e}") from e


def read_photo(path: Path) -> bytes:
    """The bytes of a photo's file.

    Raises:
        DataError: there is no such file.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: no such name, with a NUL in it
        raise DataError(f"no readable file {path}: {getattr(e, 'strerror', e)}") from e


def _upright(photo: Image.Image) -> Image.Image:
    """Turn a photo as its EXIF orientation says; as it is where its tags cannot be read."""
    try:
        return ImageOps.exif_transpose(photo)
    except _BROKEN_TAGS:
        return photo


def _to_rgb(photo: Image.Image) -> Image.Image:
    """The same picture in 8-bit RGB."""
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
