"""Captions with equal tokens, and captions that are truncated at the context length."""

import html
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tokenize = Callable[..., Tensor]
"""Texts and `context_length` to (n, context_length) token ids, as open_clip's tokenizers do."""

_CHUNK = 4096

_SPECIAL = 3
"""Tokens that no character of a text makes: start, end, and the leading space of SentencePiece."""


@dataclass(frozen=True)
class CaptionTokens:
    """Which of C distinct captions have equal tokens, and which are truncated.

    Attributes:
        first: (C,) long code of the first caption with the same tokens, often the caption's own.
        cut: (C,) bool: the caption has more tokens than the context length, and is truncated.
        context_length: number of tokens that the text tower reads.
    """

    first: Tensor
    cut: Tensor
    context_length: int

    @classmethod
    def from_captions(cls, captions: Sequence[str], tokenizer: Any) -> "CaptionTokens":
        """Tokenize the captions that may be truncated or may have another one's tokens.

        Args:
            captions: the distinct texts.
            tokenizer: open_clip's tokenizer; its `context_length` is that of the text tower.
        """
        length = int(tokenizer.context_length)
        first = torch.arange(len(captions))
        cut = torch.zeros(len(captions), dtype=torch.bool)
        codes = torch.tensor(_candidates(captions, length), dtype=torch.long)
        if len(codes):
            texts = [captions[code] for code in codes.tolist()]
            tokens = _tokenized(texts, tokenizer, length)
            cut[codes] = _is_cut(texts, tokens, tokenizer, length)
            same = tokens.unique(dim=0, return_inverse=True)[1]
            smallest = torch.full((int(same.max()) + 1,), len(captions))
            first[codes] = smallest.scatter_reduce(0, same, codes, "amin")[same]
        return cls(first, cut, length)


def _candidates(captions: Sequence[str], length: int) -> list[int]:
    """List the codes of captions that may be truncated, or may have another caption's tokens.

    A short ASCII text has at most a token a character, so it is not cut; and it has tokens of its
    own unless another caption has the same letters and digits, whatever their case and spacing.
    """
    alike: defaultdict[str, list[int]] = defaultdict(list)
    chosen = set()
    for code, caption in enumerate(captions):
        if not caption.isascii() or len(caption) > length - _SPECIAL:
            chosen.add(code)
        plain = unicodedata.normalize("NFKC", html.unescape(caption)).casefold()
        alike["".join(filter(str.isalnum, plain))].append(code)
    for codes in alike.values():
        if len(codes) > 1:
            chosen.update(codes)
    return sorted(chosen)


def _is_cut(texts: Sequence[str], tokens: Tensor, tokenize: Tokenize, length: int) -> Tensor:
    """Return which texts have other tokens at a context length of one more, (n,) bool."""
    padding = tokenize([""], context_length=length + 1)[0, -1]
    cut = torch.zeros(len(texts), dtype=torch.bool)
    full = (tokens[:, -1] != padding).nonzero()[:, 0]
    if len(full):
        longer = _tokenized([texts[i] for i in full.tolist()], tokenize, length + 1)
        cut[full] = (longer[:, :-1] != tokens[full]).any(dim=1) | (longer[:, -1] != padding)
    return cut


def _tokenized(texts: Sequence[str], tokenize: Tokenize, length: int) -> Tensor:
    parts = [
        tokenize(list(texts[start : start + _CHUNK]), context_length=length).to(torch.int32)
        for start in range(0, len(texts), _CHUNK)
    ]
    return torch.cat(parts)
