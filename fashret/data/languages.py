"""Which languages texts are in, by py3langid (langid.py: Lui and Baldwin, 2012)."""

from collections import Counter
from collections.abc import Sequence

import py3langid

NAMES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fi": "Finnish", "fr": "French", "hu": "Hungarian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish",
    "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
"""The languages that are told apart; of more, short titles are taken for rare ones."""

_SMALLEST = 0.15
"""Titles are short and full of brands: about a fifth of English ones are taken for others."""


def languages(texts: Sequence[str]) -> dict[str, float]:
    """Find the languages of many texts.

    Args:
        texts: the texts; those without a word are left out.

    Returns:
        The share of the texts by language, the largest first, of languages with at least 15 %:
        below that a share may be that of brands and short words.
    """
    py3langid.set_languages(sorted(NAMES))
    found = Counter(py3langid.classify(text)[0] for text in texts if any(map(str.isalpha, text)))
    total = sum(found.values())
    return {
        NAMES[name]: count / total
        for name, count in found.most_common()
        if count / total >= _SMALLEST
    }
