"""What is said of a training photo, another thing each time it is seen."""

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import ConfigError
from fashret.names import listed

if TYPE_CHECKING:
    from fashret.data.items import ItemTable


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Says of an item now its own text, now a sentence about its attributes.

    Args:
        own: the chance of the item's own text, 0 to 1; of the rest each template has an equal
            share. A template whose value is unknown is not used for the item.
        templates: sentences with `{category}`, `{text}` or attributes in braces.
        drop: the chance of each word to be left out, 0 to below 1. It keeps a text tower from
            knowing a product by one rare word of its title.
    """

    own: float
    templates: Sequence[str]
    drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.own <= 1.0:
            raise ConfigError(f"data.captions.own is {self.own}: it must be within 0 and 1")
        if not 0.0 <= self.drop < 1.0:
            raise ConfigError(f"data.captions.drop is {self.drop}: it must be from 0 to below 1")

    def over(self, table: "ItemTable") -> "CaptionTable":
        """Every caption of every item of a table.

        Raises:
            ConfigError: a template names what the table has not.
        """
        known = {"text": table.column("text")}
        known |= {
            name: [v.replace("_", " ") for v in table.column(name)] for name in table.described
        }
        unknown = {name: table.codes(name)[0] < 0 for name in known}
        columns = []
        for template in ("{text}", *self.templates):
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
            for field in set(fields) - known.keys():
                raise ConfigError(
                    f"data.captions.templates: '{template}' names {field}; the data has "
                    f"{listed(field, sorted(known))}"
                )
            missing = np.any([unknown[field] for field in fields], axis=0)
            columns.append(_filled(template, known, missing))
        captions, codes = np.unique(np.array(columns, dtype=object).T, return_inverse=True)
        codes = codes.reshape(len(table), -1).astype(np.int64)
        empty = int(captions[0] == "")  # what could not be filled sorts first
        return CaptionTable(captions[empty:].tolist(), codes - empty, self.own, self.drop)


@dataclass(frozen=True)
class CaptionTable:
    """The captions that each item may have.

    Attributes:
        captions: the distinct ones.
        codes: (N, T) long, into them: the own text, then each template; UNKNOWN for none.
        own: the chance of the own text.
        drop: the chance of each word to be left out.
    """

    captions: list[str]
    codes: NDArray[np.int64]
    own: float
    drop: float

    def choose(self, row: int, seed: str) -> int:
        """Which caption an item has this time, as a column of `codes`; 0 where it has none."""
        rng = random.Random(f"caption-{seed}")
        usable = [t for t in range(1, self.codes.shape[1]) if self.codes[row, t] >= 0]
        if not usable or (self.codes[row, 0] >= 0 and rng.random() < self.own):
            return 0
        return rng.choice(usable)

    def by_tokens(self, tokens: Tensor) -> "CaptionTable":
        """The same captions, where those of equal tokens have one code.

        Args:
            tokens: (captions, L) of each caption, in the order of their codes.
        """
        if not self.captions:
            return self
        same = tokens.unique(dim=0, return_inverse=True)[1].numpy()
        first = np.full(same.max() + 1, len(self.captions))
        np.minimum.at(first, same, np.arange(len(same)))
        codes = np.where(self.codes < 0, self.codes, first[same][self.codes.clip(min=0)])
        return replace(self, codes=codes)

    def worded(self, code: int, seed: str) -> str:
        """A caption as it is said this time: without some of its words, but never without all."""
        rng = random.Random(f"words-{seed}")
        words = self.captions[code].split()
        kept = [word for word in words if rng.random() >= self.drop]
        return " ".join(kept or words)


def _filled(
    template: str, values: Mapping[str, Sequence[str]], missing: NDArray[np.bool_]
) -> list[str]:
    """The template with each item's values; empty where one is missing."""
    names = list(values)
    rows = zip(*values.values(), strict=True)
    return [
        "" if gone else template.format(**dict(zip(names, row, strict=True)))
        for gone, row in zip(missing.tolist(), rows, strict=True)
    ]
