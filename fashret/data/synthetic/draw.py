"""Photos of drawn garments: a person on a studio ground, front on, in two views."""

import io

import numpy as np
from PIL import Image, ImageFilter

from fashret.data.synthetic.canvas import Canvas, H, Outline, Pixels, W, box, ellipse, flat
from fashret.data.synthetic.captions import caption
from fashret.data.synthetic.figure import Pose, limb
from fashret.data.synthetic.garments import COLOURS, WORN, Garment, Product
from fashret.data.synthetic.textures import cut, fabric, print_on

_SKINS = [(244, 212, 186), (226, 182, 150), (196, 146, 112), (150, 102, 74), (104, 70, 52)]
_THREAD = np.array((206, 140, 58), dtype=np.float32)  # that denim is sewn with
# The view of each slot: top and bottom edge, in body heights from the crown of the head.
_FRAMES = {"upper": (0.09, 0.6), "outer": (0.09, 0.66), "full": (0.07, 0.86), "lower": (0.36, 1.0)}

_HEMS = {
    "tees": 0.53,
    "blouses": 0.53,
    "sweaters": 0.545,
    "shirts": 0.56,
    "cardigans": 0.6,
    "jackets": 0.53,
    "coats": 0.74,
}
_SLEEVE_LENGTHS = {"sleeveless": 0.0, "short": 0.36, "medium": 0.66, "long": 1.0, "unknown": 0.0}


def draw_views(product: Product, views: int, seed: int) -> list[tuple[bytes, str]]:
    """The photos of one product and their captions.

    Pose, crop, light, ground and wording differ from view to view; the outfit does not.

    Returns:
        `views` pairs of an encoded JPEG and a caption.
    """
    number = int(product.product_id.rsplit("-", 1)[1])
    made = []
    for view in range(views):
        rng = np.random.default_rng([seed, 1, number, view])
        outfit = np.random.default_rng([seed, 2, number])  # the same prints in every view
        buffer = io.BytesIO()
        _Photo(product, rng, outfit).image().save(buffer, format="JPEG", quality=90)
        made.append((buffer.getvalue(), caption(product, rng)))
    return made


class _Photo:
    """One photo in the making: layers are painted onto `canvas` from back to front."""

    def __init__(
        self, product: Product, rng: np.random.Generator, outfit: np.random.Generator
    ) -> None:
        self.product = product
        self.rng = rng
        self.outfit = outfit
        self.pose = Pose.drawn(rng)
        top, bottom = _FRAMES[WORN[product.garment.category].slot]
        zoom = rng.uniform(0.94, 1.1)
        middle = (top + bottom) / 2 + rng.uniform(-0.015, 0.015)
        scale, above = H / ((bottom - top) * zoom), middle - (bottom - top) * zoom / 2
        shift = rng.uniform(-0.03, 0.03)
        self.mirror = bool(rng.integers(2))
        self.skin = np.array(_SKINS[int(outfit.integers(len(_SKINS)))], dtype=np.float32)
        self.variant = int(outfit.integers(12))
        self.canvas = Canvas(rng, top=above, scale=scale, shift=shift)

    def image(self) -> Image.Image:
        """The finished photo."""
        own, other = self.product.garment, self.product.worn_with
        self._body()
        self._garment(other)  # below: the picture is of the garment that is for sale
        self._garment(own)
        self._head()
        return self.canvas.developed(self.rng, mirror=self.mirror)

    def _body(self) -> None:
        torso = [(-0.1, 0.2), (0.1, 0.2), (0.078, 0.38), (0.1, 0.5), (-0.1, 0.5), (-0.078, 0.38)]
        self.canvas.lay([torso], flat(self.skin))
        limbs = [limb(arm, 0.028, 0.018) for arm in self.pose.arms]
        limbs += [self.pose.leg(side, 1.0, 0.05, 0.022) for side in (-1.0, 1.0)]
        limbs.append([(-0.035, 0.12), (0.035, 0.12), (0.045, 0.21), (-0.045, 0.21)])
        self.canvas.lay(limbs, flat(self.skin * 0.97))

    def _head(self) -> None:
        hair = np.array([[40, 30, 28], [92, 60, 40], [190, 150, 96]], dtype=np.float32)
        shade = hair[int(self.outfit.integers(3))]
        self.canvas.lay([ellipse(0, 0.075, 0.055, 0.066)], flat(shade))
        self.canvas.lay([ellipse(0, 0.087, 0.04, 0.05)], flat(self.skin))

    def _garment(self, garment: Garment) -> None:
        cloth = self._cloth(garment)
        slot = WORN[garment.category].slot
        if slot == "lower":
            self._fill(garment, self._lower_outline(garment.category), cloth)
        else:
            self._top(garment, cloth)

    def _lower_outline(self, category: str) -> list[Outline]:
        waist: Outline = [(-0.082, 0.4), (0.082, 0.4), (0.106, 0.5), (-0.106, 0.5)]
        if category == "tights":
            return [waist, *(self.pose.leg(side, 1.0, 0.051, 0.024) for side in (-1.0, 1.0))]
        if category in ("skirts", "dresses"):
            hem = 0.68 if self.variant % 2 else 0.8
            flare = 0.13 if self.variant % 3 else 0.19
            folds = [
                (x, hem + 0.012 * (i % 2)) for i, x in enumerate(np.linspace(flare, -flare, 7))
            ]
            return [waist, [(-0.1, 0.46), (0.1, 0.46), *folds]]
        if category in ("shorts", "rompers"):
            return [waist, *(self.pose.leg(side, 0.2, 0.062, 0.062) for side in (-1.0, 1.0))]
        end = 0.034 if self.variant % 2 else 0.052
        return [waist, *(self.pose.leg(side, 0.97, 0.056, end) for side in (-1.0, 1.0))]

    def _top(self, garment: Garment, cloth: Pixels) -> None:
        category = garment.category
        full = WORN[category].slot == "full"
        hem = 0.46 if full else _HEMS[category]
        loose = {"coats": 0.03, "jackets": 0.014, "cardigans": 0.016, "sweaters": 0.016}
        ease = loose.get(category, 0.004)
        flare = 0.022 if category in ("blouses", "coats") else 0.0
        torso: Outline = [
            (-0.105 - ease, 0.196),
            (-0.04, 0.172),
            (0.04, 0.172),
            (0.105 + ease, 0.196),
            (0.09 + ease, 0.38),
            (0.1 + ease + flare, hem),
            (-0.1 - ease - flare, hem),
            (-0.09 - ease, 0.38),
        ]
        shapes = [torso]
        if full:
            shapes += self._lower_outline(category)
        length = _SLEEVE_LENGTHS[garment.sleeve]
        if length:
            wide = 0.05 if category in ("blouses", "coats", "sweaters") else 0.042
            end = wide if category == "blouses" else 0.03
            shapes += [limb(arm, wide, end + ease / 3, length) for arm in self.pose.arms]
        hole = self._neck_hole(garment)
        self._fill(garment, shapes, cloth, hole)
        self._trim(garment, cloth, hem, ease)

    def _neck_hole(self, garment: Garment) -> list[Outline]:
        """What the neckline leaves open."""
        neckline = garment.neckline
        if neckline == "v_neck":
            return [[(-0.062, 0.15), (0.062, 0.15), (0.0, 0.3)]]
        if neckline == "square":
            return [[(-0.068, 0.15), (0.068, 0.15), (0.068, 0.25), (-0.068, 0.25)]]
        if neckline == "suspenders":
            inner = [(-0.052, 0.15), (0.052, 0.15), (0.052, 0.242), (-0.052, 0.242)]
            sides = [
                [(s * 0.074, 0.15), (s * 0.14, 0.15), (s * 0.14, 0.242), (s * 0.074, 0.242)]
                for s in (-1.0, 1.0)
            ]
            return [inner, *sides]
        if neckline == "collared":
            return [[(-0.036, 0.15), (0.036, 0.15), (0.0, 0.225)]]
        if neckline == "high":
            return []
        return [ellipse(0, 0.168, 0.058, 0.042)]

    def _trim(self, garment: Garment, cloth: Pixels, hem: float, ease: float) -> None:
        """Collars, plackets, ribs, pockets: what tells a shirt from a tee."""
        category = garment.category
        dark, light = cloth * 0.72, np.minimum(cloth * 1.16 + 14, 255)
        if garment.neckline == "high":
            self.canvas.lay([box(0, 0.152, 0.048, 0.036)], cloth * 0.88)
            self.canvas.lay([box(0, 0.122, 0.045, 0.005)], dark)
        if garment.neckline == "collared":
            for s in (-1.0, 1.0):
                lapel = [(s * 0.03, 0.15), (s * 0.08, 0.182), (s * 0.056, 0.27), (0.0, 0.236)]
                self.canvas.lay([lapel], light if s > 0 else cloth * 0.85)
        if category in ("shirts", "blouses", "coats"):
            self.canvas.paint(
                self.canvas.mask([box(0, (0.24 + hem) / 2, 0.004, (hem - 0.24) / 2)]), dark
            )
        if category == "shirts":
            self.canvas.paint(
                self.canvas.mask([box(0.05, 0.27, 0.02, 0.02)]), dark * 0.5 + cloth * 0.5
            )
        if category in ("cardigans", "jackets"):
            self._opening(garment, cloth, hem, ease)
        if category in ("sweaters", "cardigans", "jackets"):
            rib = self.canvas.mask([box(0, hem - 0.008, 0.1 + ease, 0.012)])
            self.canvas.paint(rib, dark if category == "jackets" else cloth * 0.86)
        if category in ("jackets", "coats"):
            y = hem - 0.085
            for s in (-1.0, 1.0):
                flap = [
                    (s * 0.045, y),
                    (s * 0.085, y - 0.012),
                    (s * 0.086, y),
                    (s * 0.046, y + 0.012),
                ]
                self.canvas.lay([flap], dark)
        if garment.category in ("rompers", "dresses"):
            self.canvas.lay([box(0, 0.415, 0.088, 0.007)], dark)

    def _opening(self, garment: Garment, cloth: Pixels, hem: float, ease: float) -> None:
        """A front left open over a plain top, with buttons or a zip."""
        wide = 0.03 if garment.category == "cardigans" else 0.012
        inner = [(-wide * 0.6, 0.23), (wide * 0.6, 0.23), (wide, hem + 0.004), (-wide, hem + 0.004)]
        shirt = np.array([246, 244, 240] if self.variant % 2 else [58, 58, 62], dtype=np.float32)
        self.canvas.lay([inner], flat(shirt))
        edge = [
            [
                (s * wide * 0.6, 0.23),
                (s * (wide * 0.6 + 0.008), 0.23),
                (s * (wide + 0.008), hem),
                (s * wide, hem),
            ]
            for s in (-1.0, 1.0)
        ]
        self.canvas.lay(edge, cloth * 0.78)
        if garment.category == "cardigans":
            spots = [
                ellipse(wide + 0.014, y, 0.006, 0.006) for y in np.arange(0.3, hem - 0.02, 0.05)
            ]
            self.canvas.paint(
                self.canvas.mask(spots), flat(np.array([60, 50, 44], dtype=np.float32))
            )

    def _fill(
        self,
        garment: Garment,
        shapes: list[Outline],
        cloth: Pixels,
        hole: list[Outline] | None = None,
    ) -> None:
        """Lay cloth over the shapes, as its material lies."""
        mask = self.canvas.mask(shapes)
        if hole:
            mask = mask * (1.0 - self.canvas.mask(hole))
        if garment.material == "furry":  # a ragged edge
            soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(
                ImageFilter.GaussianBlur(5)
            )
            edge = np.asarray(soft, dtype=np.float32) / 255.0
            ragged = edge + 0.35 * (cut(fabric("furry"), H, W, self.rng) - 0.95)
            mask = np.clip((ragged - 0.42) * 8.0, 0.0, 1.0)
        alpha = 0.8 if garment.material == "chiffon" else 1.0
        self.canvas.paint(mask * alpha, cloth)
        if garment.material == "denim":  # topstitched in a warm thread, a little inside the edge
            soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(7))
            inside = np.asarray(soft)
            seam = ((inside > 170) & (inside < 244)).astype(np.float32)
            self.canvas.paint(seam * mask * 0.8, flat(_THREAD))

    def _cloth(self, garment: Garment) -> Pixels:
        """Colour, print and fabric over the whole picture."""
        light = cut(fabric(garment.material), H, W, self.rng)[..., None]
        base = self._shade(garment.colour)
        if garment.pattern == "solid":
            plain: Pixels = np.minimum(base * light, 255)
            return plain
        if garment.pattern == "graphic":
            mix = self._emblem(garment)
        elif garment.pattern == "color_block":
            edge = 0.56 if WORN[garment.category].slot == "lower" else 0.34
            mix = np.zeros((H, W), dtype=np.float32)
            mix[max(0, int((edge - self.canvas.top) * self.canvas.scale)) :] = 1.0
        else:
            mix = cut(print_on(garment.pattern, self.variant), H, W, self.rng)
        cloth = base + (self._shade(garment.second_colour) - base) * mix[..., None]
        cloth *= light
        return np.minimum(cloth, 255, out=cloth)

    def _emblem(self, garment: Garment) -> Pixels:
        """A large sign on the chest, the thigh or the front."""
        y = 0.58 if WORN[garment.category].slot == "lower" else 0.33
        kind = self.variant % 4
        if kind == 0:
            shapes = [ellipse(0, y, 0.045, 0.045)]
        elif kind == 1:
            shapes = [
                box(0, y - 0.03, 0.05, 0.01),
                box(0, y, 0.04, 0.01),
                box(0, y + 0.03, 0.05, 0.01),
            ]
        elif kind == 2:
            angles = np.arange(10) * np.pi / 5 - np.pi / 2
            radii = np.where(np.arange(10) % 2, 0.022, 0.055)
            star = zip(radii * np.cos(angles), y + radii * np.sin(angles), strict=True)
            shapes = [[(float(a), float(b)) for a, b in star]]
        else:
            shapes = [[(-0.05, y + 0.04), (0.0, y - 0.05), (0.05, y + 0.04)]]
        if WORN[garment.category].slot == "lower":
            shapes = [[(x * 0.6 - 0.05, v) for x, v in shape] for shape in shapes]
        return self.canvas.mask(shapes)

    def _shade(self, colour: str) -> Pixels:
        """A colour as this product has it."""
        rgb = np.array(COLOURS[colour], dtype=np.float32)
        jitter = np.random.default_rng([*colour.encode(), self.variant]).normal(0, 7, 3)
        return np.clip(rgb + jitter, 0, 255).astype(np.float32)
