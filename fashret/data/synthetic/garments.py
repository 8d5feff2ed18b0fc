"""The products of the sample data set: garments, their attributes, and their frequencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Slot = Literal["upper", "outer", "full", "lower"]


@dataclass(frozen=True)
class Kind:
    """A category of garment.

    Attributes:
        noun: noun for one garment in captions.
        slot: part of the body on which it is worn.
        share: share of all products, 0 to 1.
        materials: shares by material.
        necklines: shares by neckline; empty for a category without necklines.
        sleeves: shares by sleeve length; empty for a category without sleeves.
    """

    noun: str
    slot: Slot
    share: float
    materials: Mapping[str, float]
    necklines: Mapping[str, float]
    sleeves: Mapping[str, float]


_SLEEVES = {"sleeveless": 0.2, "short": 0.4, "medium": 0.15, "long": 0.25}
_LONG = {"short": 0.1, "medium": 0.2, "long": 0.7}

KINDS: dict[str, Kind] = {
    "tees": Kind(
        "tee",
        "upper",
        0.15,
        {"cotton": 0.75, "knitted": 0.15, "chiffon": 0.1},
        {"round": 0.45, "v_neck": 0.2, "suspenders": 0.2, "square": 0.15},
        _SLEEVES,
    ),
    "dresses": Kind(
        "dress",
        "full",
        0.14,
        {"chiffon": 0.35, "cotton": 0.4, "knitted": 0.15, "denim": 0.1},
        {"square": 0.35, "suspenders": 0.3, "v_neck": 0.2, "high": 0.15},
        _SLEEVES,
    ),
    "pants": Kind(
        "pants",
        "lower",
        0.12,
        {"cotton": 0.56, "denim": 0.19, "leather": 0.15, "knitted": 0.1},
        {},
        {},
    ),
    "blouses": Kind(
        "blouse",
        "upper",
        0.11,
        {"chiffon": 0.5, "cotton": 0.4, "knitted": 0.1},
        {"v_neck": 0.5, "square": 0.3, "round": 0.2},
        _LONG,
    ),
    "sweaters": Kind(
        "sweater",
        "upper",
        0.09,
        {"knitted": 0.7, "furry": 0.2, "cotton": 0.1},
        {"high": 0.55, "round": 0.35, "v_neck": 0.1},
        _LONG,
    ),
    "skirts": Kind(
        "skirt",
        "lower",
        0.08,
        {"cotton": 0.36, "chiffon": 0.3, "denim": 0.16, "leather": 0.18},
        {},
        {},
    ),
    "jackets": Kind(
        "jacket",
        "outer",
        0.07,
        {"cotton": 0.35, "leather": 0.3, "denim": 0.2, "furry": 0.15},
        {"collared": 0.7, "high": 0.3},
        {"long": 0.85, "medium": 0.15},
    ),
    "shirts": Kind(
        "shirt",
        "upper",
        0.06,
        {"cotton": 0.85, "denim": 0.15},
        {"collared": 0.85, "v_neck": 0.15},
        {"short": 0.4, "long": 0.6},
    ),
    "cardigans": Kind(
        "cardigan",
        "outer",
        0.06,
        {"knitted": 0.7, "furry": 0.15, "cotton": 0.15},
        {"v_neck": 0.6, "round": 0.4},
        {"long": 0.75, "medium": 0.25},
    ),
    "shorts": Kind(
        "shorts", "lower", 0.06, {"cotton": 0.6, "denim": 0.25, "leather": 0.15}, {}, {}
    ),
    "coats": Kind(
        "coat",
        "outer",
        0.03,
        {"cotton": 0.5, "furry": 0.3, "leather": 0.2},
        {"collared": 0.75, "high": 0.25},
        {"long": 1.0},
    ),
    "rompers": Kind(
        "romper",
        "full",
        0.03,
        {"cotton": 0.7, "chiffon": 0.3},
        {"suspenders": 0.5, "square": 0.3, "round": 0.2},
        _SLEEVES,
    ),
}

PARTNERS: dict[str, Kind] = {
    "tights": Kind("tights", "lower", 0.0, {}, {}, {}),
}
"""Categories that are only worn with the products, and are not products themselves."""

WORN: dict[str, Kind] = KINDS | PARTNERS

PATTERNS = {
    "solid": 0.34,
    "striped": 0.14,
    "floral": 0.14,
    "checked": 0.11,
    "dotted": 0.1,
    "graphic": 0.09,
    "color_block": 0.08,
}
_HEAVY_PATTERNS = {"solid": 0.8, "color_block": 0.2}
"""Leather and fur are not printed on."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (38, 37, 41),
    "white": (238, 236, 232),
    "grey": (139, 140, 146),
    "navy": (38, 50, 92),
    "blue": (66, 113, 190),
    "red": (190, 42, 48),
    "pink": (233, 150, 172),
    "green": (62, 124, 78),
    "yellow": (233, 196, 82),
    "brown": (118, 78, 50),
    "beige": (212, 190, 156),
    "purple": (120, 78, 150),
}
_COLOUR_SHARES = {name: 1.0 / len(COLOURS) for name in COLOURS}

SPLIT_SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}


@dataclass(frozen=True)
class Garment:
    """One garment as it is drawn; neckline and sleeve are "unknown" where it has none."""

    category: str
    material: str
    pattern: str
    colour: str
    second_colour: str
    neckline: str = "unknown"
    sleeve: str = "unknown"


@dataclass(frozen=True)
class Product:
    """A garment, what it is worn with, and where it belongs."""

    product_id: str
    split: str
    garment: Garment
    worn_with: Garment


def make_products(count: int, seed: int) -> list[Product]:
    """Generate the sample's products: exact shares in every split, in random combinations.

    Args:
        count: number of products in all splits together.
        seed: seed of the products.
    """
    rng = np.random.default_rng([seed, 0])
    products: list[Product] = []
    for split, share in SPLIT_SHARES.items():
        for category in _quota({n: k.share for n, k in KINDS.items()}, round(count * share), rng):
            products.append(Product("", split, _blank(category), _blank(category)))
    garments = _dress([product.garment.category for product in products], products, rng)
    partners = [_partner(garment, rng) for garment in garments]
    return [
        Product(f"s{seed}-{i:05d}", product.split, garment, partner)
        for i, (product, garment, partner) in enumerate(
            zip(products, garments, partners, strict=True)
        )
    ]


def _dress(
    categories: Sequence[str], products: Sequence[Product], rng: np.random.Generator
) -> list[Garment]:
    """Attributes for each product, by quota within its split and category."""
    garments = [_blank(category) for category in categories]
    groups: dict[tuple[str, str], list[int]] = {}
    for i, product in enumerate(products):
        groups.setdefault((product.split, categories[i]), []).append(i)
    for (_, category), members in groups.items():
        kind = KINDS[category]
        materials = _quota(kind.materials, len(members), rng)
        necklines = _quota(kind.necklines or {"unknown": 1.0}, len(members), rng)
        sleeves = _quota(kind.sleeves or {"unknown": 1.0}, len(members), rng)
        patterns = _quota(PATTERNS, len(members), rng)
        colours = _quota(_COLOUR_SHARES, len(members), rng)
        for j, index in enumerate(members):
            pattern = patterns[j]
            if materials[j] in ("leather", "furry"):
                pattern = _draw(_HEAVY_PATTERNS, rng)
            garments[index] = Garment(
                category,
                materials[j],
                pattern,
                colours[j],
                _contrast(colours[j], rng),
                necklines[j],
                "sleeveless" if necklines[j] == "suspenders" else sleeves[j],
            )
    return garments


def _partner(garment: Garment, rng: np.random.Generator) -> Garment:
    """What a garment is worn with: plain, so that it does not take the picture over."""
    slot = KINDS[garment.category].slot
    fitting = {"lower": ["tees", "shirts"], "full": ["tights"]}.get(slot, ["pants", "skirts"])
    category = str(rng.choice(fitting))
    colour = str(rng.choice(list(COLOURS)))
    neckline = str(rng.choice(["round", "v_neck"])) if slot == "lower" else "unknown"
    sleeve = str(rng.choice(["short", "long"])) if slot == "lower" else "unknown"
    material = _draw({"cotton": 0.7, "denim": 0.15, "knitted": 0.15}, rng)
    pattern = _draw({"solid": 0.75, "striped": 0.25}, rng)
    second = _contrast(colour, rng)
    return Garment(category, material, pattern, colour, second, neckline, sleeve)


def _blank(category: str) -> Garment:
    return Garment(category, "cotton", "solid", "grey", "white")


def _quota(shares: Mapping[str, float], count: int, rng: np.random.Generator) -> list[str]:
    """`count` values in shuffled order, each as often as its share says, to the nearest one."""
    names = list(shares)
    exact = np.array([shares[name] for name in names]) / sum(shares.values()) * count
    numbers = np.floor(exact).astype(int)
    for i in np.argsort(numbers - exact, kind="stable")[: count - numbers.sum()]:
        numbers[i] += 1
    values = np.repeat(names, numbers)
    rng.shuffle(values)
    return [str(value) for value in values]


def _draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _contrast(colour: str, rng: np.random.Generator) -> str:
    """A second colour that can be told from the first."""
    base = np.array(COLOURS[colour])
    far = [n for n, rgb in COLOURS.items() if np.abs(np.array(rgb) - base).sum() > 150]
    return str(rng.choice(far))
