"""Thumbnails, and contact sheets: captioned photos in labelled rows of one picture."""

import io
from collections.abc import Sequence
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont, ImageOps

from fashret.data.photos import decode_photo

_WIDTH, _HEIGHT = 120, 160
_GAP, _LINE = 12, 14


def photo_rows(rows: Sequence[tuple[str, Sequence[tuple[bytes, str]]]]) -> Image.Image:
    """Draw a contact sheet: one labelled row of captioned photos for each entry.

    Args:
        rows: for each row its label, and its encoded photos with a caption each.
    """
    columns = max(len(photos) for _, photos in rows)
    row_height = 2 * _LINE + _HEIGHT + 2 * _LINE + _GAP
    size = (columns * (_WIDTH + _GAP) + _GAP, len(rows) * row_height + _GAP)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    heading, small = ImageFont.load_default(size=16), ImageFont.load_default(size=11)
    for number, (label, photos) in enumerate(rows):
        top = _GAP + number * row_height
        pen.text((_GAP, top), label, fill="black", font=heading)
        for column, (encoded, caption) in enumerate(photos):
            left = _GAP + column * (_WIDTH + _GAP)
            photo = ImageOps.contain(decode_photo(encoded), (_WIDTH, _HEIGHT))
            picture.paste(photo, (left + (_WIDTH - photo.width) // 2, top + 2 * _LINE))
            lines = wrap(caption, 22)[:2]
            below = top + 2 * _LINE + _HEIGHT
            pen.text((left, below), "\n".join(lines), fill="#444444", font=small, spacing=1)
    return picture


def jpeg(picture: Image.Image) -> bytes:
    """Encode a picture as JPEG."""
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88)
    return file.getvalue()


def thumbnail(encoded: bytes, side: int) -> bytes:
    """Shrink an encoded photo to a JPEG that fits in a square of `side` pixels."""
    file = io.BytesIO()
    photo = decode_photo(encoded, min_side=side)
    ImageOps.contain(photo, (side, side)).save(file, format="JPEG", quality=72)
    return file.getvalue()
