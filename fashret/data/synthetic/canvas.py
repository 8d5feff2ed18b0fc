"""The picture that garments are painted on, and the shapes that they are cut from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 120, 160
"""Pixels of a finished photo."""

_SUPER = 2
W, H = WIDTH * _SUPER, HEIGHT * _SUPER
"""Pixels of the picture while it is painted."""

Point = tuple[float, float]
"""In body heights: across from the middle of the body, down from the crown of the head."""

Outline = list[Point]
Pixels = NDArray[np.float32]

_GROUNDS = [(240, 240, 238), (226, 228, 232), (236, 228, 218), (214, 220, 222), (232, 222, 226)]


class Canvas:
    """One photo in the making: layers are painted from back to front.

    Args:
        rng: of the ground.
        top: the body height at the upper edge.
        scale: pixels of a body height.
        shift: how far the body stands from the middle.
    """

    def __init__(self, rng: np.random.Generator, *, top: float, scale: float, shift: float) -> None:
        self.top = top
        self.scale = scale
        self.shift = shift
        self.pixels = self._ground(rng)

    def _ground(self, rng: np.random.Generator) -> Pixels:
        """A studio wall, lit from one side, with a floor."""
        colour = np.array(_GROUNDS[int(rng.integers(len(_GROUNDS)))], dtype=np.float32)
        across = np.linspace(-1, 1, W, dtype=np.float32)[None, :, None]
        down = np.linspace(0, 1, H, dtype=np.float32)[:, None, None]
        light = 1.0 + across * np.float32(0.05 * rng.uniform(-1, 1)) - 0.07 * down
        canvas: Pixels = colour * light
        floor = int((0.97 - self.top) * self.scale)
        if floor < H:
            canvas[max(0, floor) :] *= 0.9
        return canvas

    def developed(self, rng: np.random.Generator, *, mirror: bool) -> Image.Image:
        """Light, grain and the final size."""
        light = rng.uniform(0.84, 1.06) * (1 + rng.normal(0, 0.025, 3))
        side = 1.0 + 0.1 * rng.uniform(-1, 1) * np.linspace(-1, 1, W)[None, :, None]
        self.pixels *= (light * side).astype(np.float32)
        pixels = np.clip(self.pixels, 0, 255, out=self.pixels).astype(np.uint8)
        image = Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        if mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image

    def mask(self, shapes: Sequence[Outline]) -> Pixels:
        """(H, W) from 0 to 1: 1 inside any of the shapes."""
        canvas = Image.new("L", (W, H), 0)
        draw = ImageDraw.Draw(canvas)
        for shape in shapes:
            draw.polygon([self._pixel(point) for point in shape], fill=255)
        return np.asarray(canvas, dtype=np.float32) / 255.0

    def _pixel(self, point: Point) -> Point:
        x, y = point
        return ((x + self.shift) * self.scale + W / 2, (y - self.top) * self.scale)

    def lay(self, shapes: Sequence[Outline], colours: Pixels) -> None:
        """Lay colours over shapes."""
        self.paint(self.mask(shapes), colours)

    def paint(self, mask: Pixels, colours: Pixels) -> None:
        """Lay colours over the canvas where the mask is."""
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows) == 0:
            return
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        alpha = mask[part, :, None]
        self.pixels[part] += alpha * (colours[part] - self.pixels[part])


def flat(colour: Pixels) -> Pixels:
    """One colour over the whole picture."""
    return np.broadcast_to(colour, (H, W, 3))


def ellipse(x: float, y: float, width: float, height: float) -> Outline:
    """An ellipse around (x, y)."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return [(x + width * float(np.cos(a)), y + height * float(np.sin(a))) for a in angles]


def box(x: float, y: float, width: float, height: float) -> Outline:
    """A box around (x, y); width and height are halves."""
    return [
        (x - width, y - height),
        (x + width, y - height),
        (x + width, y + height),
        (x - width, y + height),
    ]
