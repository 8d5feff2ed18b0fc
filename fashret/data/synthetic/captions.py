"""Sentences about an outfit, as a shop or an annotator would write them."""

import numpy as np

from fashret.data.synthetic.garments import WORN, Garment, Product

_MATERIALS = {
    "cotton": ["cotton"],
    "denim": ["denim"],
    "leather": ["leather"],
    "knitted": ["knitted", "knit"],
    "chiffon": ["chiffon"],
    "furry": ["furry", "fur"],
}
_PATTERNS = {
    "solid": ["solid color patterns", "pure color patterns"],
    "striped": ["striped patterns", "stripes"],
    "floral": ["floral patterns", "floral prints"],
    "checked": ["checked patterns", "plaid patterns"],
    "dotted": ["dotted patterns", "polka dots"],
    "graphic": ["graphic patterns", "a graphic print"],
    "color_block": ["color block patterns", "a color block design"],
}
_NECKLINES = {
    "round": ["round", "a round neckline"],
    "v_neck": ["v-shaped", "a V-neck"],
    "square": ["square", "a square neckline"],
    "high": ["standing", "a turtle neck"],
    "collared": ["lapel", "a lapel collar"],
    "suspenders": ["suspenders", "thin suspenders"],
}
_SLEEVES = {
    "sleeveless": ["sleeveless", "no sleeves"],
    "short": ["short-sleeve", "short sleeves"],
    "medium": ["medium-sleeve", "medium sleeves"],
    "long": ["long-sleeve", "long sleeves"],
}


def caption(product: Product, rng: np.random.Generator) -> str:
    """A description of the whole outfit, the worn-with garment too."""
    own, other = product.garment, product.worn_with
    style = int(rng.integers(4))
    if style == 0:
        return f"{_opening(own, rng)} {_facts(own, rng)} {_facts(other, rng)}"
    if style == 1:
        partner = f"{_article(other.colour, other)} {_noun(other)}"
        return f"{_opening(own, rng)} {_facts(own, rng)} It is worn with {partner}."
    partner = _noun(other) if _is_plural(other) else f"a {_noun(other)}"
    outfit = f"{_noun_phrase(own, rng)}{_trimmings(own, rng)}"
    if style == 2:
        return f"{outfit[0].upper()}{outfit[1:]}, paired with {partner}."
    return f"This person is in {outfit} and {partner}."


def _opening(own: Garment, rng: np.random.Generator) -> str:
    """Who wears what."""
    sleeve = "" if own.sleeve == "unknown" else _SLEEVES[own.sleeve][0] + " "
    who = _pick(["This woman", "The model", "The lady", "She"], rng)
    what = _article(sleeve + own.colour, own)
    return f"{who} wears {what} {_noun(own)} with {_pattern(own, rng)}."


def _facts(garment: Garment, rng: np.random.Generator) -> str:
    """A sentence about fabric and neckline."""
    noun, plural = _noun(garment), _is_plural(garment)
    verb = "are" if plural else "is"
    fabric = f"The {noun} {verb} with {_material(garment, rng)} fabric"
    if garment.neckline == "unknown":
        return f"{fabric} and {_pattern(garment, rng)}."
    return f"{fabric} and its neckline is {_NECKLINES[garment.neckline][0]}."


def _noun_phrase(garment: Garment, rng: np.random.Generator) -> str:
    """Name a garment: a red cotton tee with stripes."""
    words = f"{garment.colour} {_material(garment, rng)}"
    return f"{_article(words, garment)} {_noun(garment)} with {_pattern(garment, rng)}"


def _trimmings(garment: Garment, rng: np.random.Generator) -> str:
    """Neckline and sleeves, behind the noun."""
    if garment.neckline == "unknown":
        return ""
    neckline, sleeve = _NECKLINES[garment.neckline][1], _SLEEVES[garment.sleeve][1]
    return f", {neckline} and {sleeve}"


def _noun(garment: Garment) -> str:
    return WORN[garment.category].noun


def _is_plural(garment: Garment) -> bool:
    return _noun(garment) in ("pants", "shorts", "tights")


def _article(words: str, garment: Garment) -> str:
    """The words with the article that fits the noun."""
    if _is_plural(garment):
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _material(garment: Garment, rng: np.random.Generator) -> str:
    return _pick(_MATERIALS[garment.material], rng)


def _pattern(garment: Garment, rng: np.random.Generator) -> str:
    return _pick(_PATTERNS[garment.pattern], rng)


def _pick(options: list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
