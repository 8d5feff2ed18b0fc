"""Photos as a person sees them: any file that a shop might hold, as RGB pixels."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fashret.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""The endings of the files that a folder of photos is searched for."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


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
        photo.seek(0)
        if least is not None:
            photo.draft(None, (least, least))
        photo.load()
        return _to_rgb(ImageOps.exif_transpose(photo))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise DataError(f"not a readable photo: {e}") from e


def read_photo(path: Path) -> bytes:
    """The bytes of a photo's file.

    Raises:
        DataError: there is no such file.
    """
    try:
        return path.read_bytes()
    except OSError as e:
        raise DataError(f"no readable file {path}: {e.strerror}") from e


def _to_rgb(photo: Image.Image) -> Image.Image:
    """The same picture in 8-bit RGB."""
    if photo.mode.startswith("I") or photo.mode == "F":
        samples = np.asarray(photo, dtype=np.float64)
        # 16-bit files use the whole range; the 32-bit ones that scanners write seldom do.
        peak = 65535.0 if photo.mode.startswith("I;16") else max(255.0, float(samples.max()))
        photo = Image.fromarray((samples / peak * 255.0).clip(0, 255).astype(np.uint8))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        photo = Image.new("RGBA", layer.size, "white")
        photo.alpha_composite(layer)
    return photo.convert("RGB")
