"""Augmentation of training photos: `data.augment`."""

import random
from dataclasses import dataclass

from PIL import Image

from fashret.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Mirrors and crops photos at random. Colours are not changed: users search by them.

    Args:
        flip: probability of a mirrored photo, 0 to 1.
        crop: largest share of each side that is cut off, 0 to below 1.
    """

    flip: float = 0.5
    crop: float = 0.15

    def __post_init__(self) -> None:
        if not 0.0 <= self.flip <= 1.0 or not 0.0 <= self.crop < 1.0:
            raise ConfigError(
                f"data.augment.flip={self.flip} data.augment.crop={self.crop}: flip must be "
                "within 0 and 1, crop from 0 to below 1"
            )

    def __call__(self, photo: Image.Image, seed: str) -> Image.Image:
        """Augment a photo; the same seed gives the same result in any process."""
        rng = random.Random(seed)
        width, height = photo.size
        keep_x, keep_y = 1.0 - rng.random() * self.crop, 1.0 - rng.random() * self.crop
        left, top = rng.random() * (1.0 - keep_x) * width, rng.random() * (1.0 - keep_y) * height
        right = max(left + 1, left + keep_x * width)
        bottom = max(top + 1, top + keep_y * height)
        photo = photo.crop((int(left), int(top), round(right), round(bottom)))
        if rng.random() < self.flip:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return photo
