"""Fabrics and prints as tiles of numbers, made once a process and cut at random places."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Tile = NDArray[np.float32]

SIZE = 512
"""Pixels of a tile's side; garments are cut from it."""


@cache
def fabric(material: str) -> Tile:
    """Light and shade of a fabric: (SIZE, SIZE) float32 factors around 1."""
    rng = np.random.default_rng([7, *material.encode()])
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    if material == "denim":  # a coarse diagonal twill, washed out in patches
        twill = np.sin((x + y) * 2 * np.pi / 22.0)
        tile = 0.97 + 0.16 * twill + 0.1 * _noise(rng, 3) + 0.22 * _noise(rng, 40)
    elif material == "leather":  # a sheen that breaks off sharply along creases
        creases = _noise(rng, 22)
        sheen = np.clip(creases * 1.8, 0, 1.6) ** 2
        tile = 0.72 + 0.75 * sheen + 0.05 * _noise(rng, 2)
    elif material == "knitted":  # columns of v-shaped stitches
        column = np.abs((x % 14.0) - 7.0) / 7.0
        stitch = np.sin((y + column * 8.0) * 2 * np.pi / 10.0)
        tile = 0.9 + 0.16 * stitch - 0.28 * (column > 0.86) + 0.05 * _noise(rng, 3)
    elif material == "furry":  # tufts: strongly lit short strokes
        tufts = _noise(rng, 4, stretch=(3.0, 1.0))
        tile = 0.95 + 0.34 * tufts + 0.12 * _noise(rng, 12)
    elif material == "chiffon":  # soft vertical folds, light shining through
        folds = np.sin(x * 2 * np.pi / 46.0 + 2.2 * _noise(rng, 60))
        tile = 1.04 + 0.13 * folds
    else:  # cotton lies flat, with a few wide creases
        tile = 0.98 + 0.07 * _noise(rng, 45) + 0.03 * _noise(rng, 2)
    made: Tile = tile.astype(np.float32)
    return made


@cache
def print_on(pattern: str, variant: int) -> Tile:
    """Where a print shows the second colour: (SIZE, SIZE) float32 from 0 to 1."""
    rng = np.random.default_rng([11, variant, *pattern.encode()])
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    period = float(rng.uniform(16, 30))
    if pattern == "striped":
        along = y if variant % 3 else x
        mask = (along % period) < period * rng.uniform(0.35, 0.5)
    elif pattern == "checked":
        mask = ((x % period) < period * 0.45).astype(np.float32) * 0.5
        mask = mask + ((y % period) < period * 0.45).astype(np.float32) * 0.5
    elif pattern == "dotted":
        shifted = x + (np.floor(y / period) % 2) * period / 2
        radius = np.hypot((shifted % period) - period / 2, (y % period) - period / 2)
        mask = radius < period * rng.uniform(0.22, 0.3)
    elif pattern == "floral":
        mask = _flowers(rng)
    else:
        mask = np.zeros((SIZE, SIZE))
    return np.asarray(mask, dtype=np.float32)


def cut(tile: Tile, height: int, width: int, rng: np.random.Generator) -> Tile:
    """A piece of a tile from a random place."""
    top = int(rng.integers(SIZE - height + 1))
    left = int(rng.integers(SIZE - width + 1))
    return tile[top : top + height, left : left + width]


def _noise(
    rng: np.random.Generator, scale: float, stretch: tuple[float, float] = (1.0, 1.0)
) -> Tile:
    """Smooth noise of about unit range whose features are `scale` pixels wide."""
    shape = tuple(max(3, int(SIZE / (scale * factor))) for factor in stretch)
    coarse = rng.normal(size=shape).astype(np.float32)
    fine = Image.fromarray(coarse, mode="F").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    noise: Tile = np.asarray(fine, dtype=np.float32) * np.float32(0.6)
    return noise


def _flowers(rng: np.random.Generator) -> Tile:
    """Blossoms of five petals, scattered without touching much."""
    canvas = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(canvas)
    step = int(rng.integers(30, 42))
    for top in range(0, SIZE, step):
        for left in range(0, SIZE, step):
            cx = left + rng.uniform(0.25, 0.75) * step
            cy = top + rng.uniform(0.25, 0.75) * step
            radius = step * rng.uniform(0.22, 0.34)
            turn = rng.uniform(0, 2 * np.pi)
            for petal in range(5):
                angle = turn + petal * 2 * np.pi / 5
                px, py = cx + radius * np.cos(angle), cy + radius * np.sin(angle)
                size = radius * 0.72
                draw.ellipse([px - size, py - size, px + size, py + size], fill=255)
            draw.ellipse([cx - 3, cy - 3, cx + 3, cy + 3], fill=0)
    blurred = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32)
    return blurred / np.float32(255.0)
