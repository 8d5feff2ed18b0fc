"""Text without HTML."""

import html
import re
from html.parser import HTMLParser

_BREAKS = frozenset("address article br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table td tr "
                    "th ul".split())  # fmt: skip
"""Tags that end a line."""

_LOOKS_LIKE_MARKUP = re.compile(r"<[a-zA-Z/!][^<>]*>|&(?:#\d+|#x[\da-fA-F]+|[a-zA-Z]\w+);")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, without tags and entities, scripts and comments.

    Example:
        >>> lines_of("<p>Red &amp; blue</p><ul><li>Material: cotton</li></ul>")
        ['Red & blue', 'Material: cotton']
    """
    if _LOOKS_LIKE_MARKUP.search(text):
        text = html.unescape(_read(text))  # once more: feeds escape twice
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line]


def _read(text: str) -> str:
    reader = _Reader()
    try:
        reader.feed(text)
        reader.close()
    except AssertionError:  # the parser's own, for a marked section that it does not know
        return re.sub(r"<[^<>]*>", " ", text)
    return "".join(reader.parts)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
