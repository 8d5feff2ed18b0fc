"""Tokenization of texts, and of the phrases that are searched in them, in any script."""

import re
import unicodedata
from collections.abc import Sequence

from fashret.errors import ConfigError

_MARKS = ".,;:!?\u3001\u3002"
_ASCII_TOKEN = re.compile(r"[a-z]+|\d+|[.,;:!?]")
_UNSPACED = (  # Thai to Burmese, Khmer, kana, Han, and what lies between: words have no space
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_COMBINING = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0971-\u0dff"  # parts of words
_TOKEN = re.compile(rf"[{_UNSPACED}]|\d+|(?:(?![{_UNSPACED}])[^\W\d_]|[{_COMBINING}])+|[{_MARKS}]")


_SIGNS = re.compile(
    "[\u2122\u2120\u00ae\u00a9\u00bc-\u00be]"
)  # trade marks and fractions part words


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case words, numbers and punctuation marks.

    A hyphen separates words, an apostrophe does not. In a script without spaces each letter is a
    token, so that phrases match within running text.
    """
    plain = text.isascii()
    if not plain:
        text = unicodedata.normalize("NFKC", _SIGNS.sub(" ", text))
    text = text.lower().replace("\u2019", "'").replace("'s", "").replace("colour", "color")
    return (_ASCII_TOKEN if plain else _TOKEN).findall(text)


def check_phrases(phrases: object, key: str, *, one_word: bool = False) -> None:
    """Check that each phrase can occur in a text.

    Args:
        phrases: value of the config key, a list of phrases.
        key: the config key, for messages.
        one_word: whether each phrase must be a single word.

    Raises:
        ConfigError: there is no phrase, or one that no text can contain.
    """
    if isinstance(phrases, str) or not isinstance(phrases, Sequence) or not phrases:
        raise ConfigError(f"{key}: {phrases} is not a list of phrases with at least one phrase")
    for phrase in phrases:
        if isinstance(phrase, bool) or not isinstance(phrase, str | int | float):
            raise ConfigError(
                f"{key}: {phrase} is not a text; put words that YAML reads differently in quotes"
            )
        tokens = tokenize(str(phrase))
        if all(token in _MARKS for token in tokens):
            raise ConfigError(
                f"{key}: the phrase '{phrase}' has no letter or digit, so that no text matches it"
            )
        if one_word and len(tokens) > 1:
            raise ConfigError(f"{key}: '{phrase}' must be one word")


def as_texts(value: object) -> list[str]:
    """Convert a list of the configuration to texts; empty for any other value."""
    return [str(word) for word in value] if isinstance(value, Sequence | frozenset) else []
