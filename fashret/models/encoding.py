"""Photos and texts for encoding: what is accepted, and batch after batch with a progress bar."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fashret.data.photos import decode_photo, upright_rgb
from fashret.errors import ConfigError, DataError
from fashret.progress import progress

Photo = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A photo for `Retriever.encode_image`: a path, the file's bytes, a PIL image or an array."""

_ONE_PHOTO = (str, os.PathLike, bytes, Image.Image)

_QUIET_BATCHES = 4
"""Up to this many batches are encoded without a progress bar."""


def listed_photos(photos: Photo | Sequence[Photo]) -> Sequence[Photo]:
    """Return several photos as they are, and a single one as a list of one."""
    is_one = isinstance(photos, _ONE_PHOTO) or getattr(photos, "ndim", 0) in (2, 3)
    if not is_one and not hasattr(photos, "__iter__"):
        raise DataError(
            f"photos are paths, bytes, PIL images or arrays, or a list of them, not a "
            f"{type(photos).__name__}"
        )
    return [photos] if is_one else list(photos)  # type: ignore[list-item,arg-type]  # checked above


def listed_texts(texts: str | Sequence[str]) -> list[str]:
    """Return several texts as a list, and a single one as a list of one.

    Raises:
        DataError: one of them is no text.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes) or not hasattr(texts, "__iter__"):
        raise DataError(f"texts are a text or a list of texts, not a {type(texts).__name__}")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise DataError(
                f"text {number} is a {type(text).__name__}, not a text; an item without a text is "
                'the empty text ""'
            )
    return found


def open_photo(photo: Photo) -> Image.Image:
    """Open a photo as upright RGB pixels, whatever it is given as.

    An array has 8-bit samples: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB with transparency.

    Raises:
        DataError: it cannot be read; the message names it.
    """
    if isinstance(photo, Image.Image):
        return upright_rgb(photo)
    if isinstance(photo, np.ndarray):
        shape, is_image = photo.shape, photo.ndim == 2 or photo.shape[2:] in ((3,), (4,))
        if photo.dtype != np.uint8 or not is_image or 0 in shape:
            raise DataError(
                f"a photo of {shape} {photo.dtype}: an array is (H, W), (H, W, 3) or (H, W, 4) "
                "of uint8, 0 to 255"
            )
        return upright_rgb(Image.fromarray(photo))
    if isinstance(photo, bytes):
        return decode_photo(photo)
    if not isinstance(photo, str | os.PathLike):
        raise DataError(
            f"a photo is a path, bytes, a PIL image or an array, not a {type(photo).__name__}"
        )
    try:
        return decode_photo(Path(photo).expanduser().read_bytes())
    except (OSError, ValueError, RuntimeError, DataError) as e:  # a NUL, or ~nobody
        raise DataError(f"photo {photo!s} cannot be read: {e}") from e


def encode_in_batches(
    inputs: Any,
    embed: Callable[[Any], Tensor],
    *,
    batch_size: int,
    what: str,
    dim: int = 0,
) -> NDArray[np.float32]:
    """Encode in batches, with a progress bar where there are many.

    Args:
        inputs: the photos, texts or tokens.
        embed: embeds n of them: (n, dim).
        batch_size: how many are encoded at a time.
        what: what they are, for the bar.
        dim: the dimension of an embedding, for the shape of what has no inputs.

    Returns:
        (len(inputs), dim) float32.

    Raises:
        ConfigError: the batch size is not a whole number of at least 1.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: must be a whole number of at least 1")
    parts = [np.zeros((0, dim), dtype=np.float32)]
    with progress(
        total=len(inputs),
        desc=f"encoding {what}",
        unit=f" {what}",
        disable=len(inputs) <= _QUIET_BATCHES * batch_size,
    ) as bar:
        for start in range(0, len(inputs), batch_size):
            part = inputs[start : start + batch_size]
            parts.append(embed(part).float().cpu().numpy())
            bar.update(len(part))
    return np.concatenate(parts[1:] or parts)
