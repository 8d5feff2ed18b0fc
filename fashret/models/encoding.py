"""Photos and texts for encoding: what is accepted, and batch after batch with a progress bar."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fashret.data.photos import decode_photo
from fashret.errors import DataError
from fashret.progress import progress

Photo = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A photo for `Retriever.encode_image`: a path, the file's bytes, a PIL image or an array."""

_ONE_PHOTO = (str, os.PathLike, bytes, Image.Image)

_QUIET_BATCHES = 4
"""Up to this many batches are encoded without a progress bar."""


def listed_photos(photos: Photo | Sequence[Photo]) -> Sequence[Photo]:
    """Return several photos as they are, and a single one as a list of one."""
    is_one = isinstance(photos, _ONE_PHOTO) or getattr(photos, "ndim", 0) == 3
    return [photos] if is_one else photos  # type: ignore[list-item,return-value]  # checked above


def open_photo(photo: Photo) -> Image.Image:
    """Open a photo as upright RGB pixels.

    Raises:
        DataError: it cannot be read; the message names it.
    """
    if isinstance(photo, Image.Image):
        return photo.convert("RGB")
    if isinstance(photo, np.ndarray):
        return Image.fromarray(photo).convert("RGB")
    if isinstance(photo, bytes):
        return decode_photo(photo)
    try:
        return decode_photo(Path(photo).expanduser().read_bytes())
    except (OSError, DataError) as e:
        raise DataError(f"photo {photo} cannot be read: {e}") from e


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
    """
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
