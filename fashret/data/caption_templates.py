"""Captions of training photos: the item's own text or a filled template, chosen each epoch."""

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
    """Trains an item sometimes with its own text, sometimes with a sentence about its attributes.

    Args:
        own: probability of the item's own text, 0 to 1; the templates share the rest equally. A
            template whose value is unknown is not used for the item.
        templates: sentences with `{category}`, `{text}` or attribute names in braces.
        drop: probability that a word is left out, 0 to below 1. It keeps a text tower from
            recognising a product by one rare word of its title.
    """

    own: float
    templates: Sequence[str]
    drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.own <= 1.0:
            raise ConfigError(f"data.captions.own is {self.own}: it must be within 0 and 1")
        if not 0.0 <= self.drop < 1.0:
            raise ConfigError(f"data.captions.drop is {self.drop}: it must be from 0 to below 1")

    def fill(self, table: "ItemTable") -> "CaptionTable":
        """Fill every template for every item of a table.

        Raises:
            ConfigError: a template names a column that the table does not have.
        """
        values = {"text": table.column("text")}
        values |= {
            name: [v.replace("_", " ") for v in table.column(name)]
            for name in table.categorical_columns
        }
        unknown = {name: table.codes(name)[0] < 0 for name in values}
        columns = []
        for template in ("{text}", *self.templates):
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
            for field in set(fields) - values.keys():
                raise ConfigError(
                    f"data.captions.templates: '{template}' names {field}; the data has "
                    f"{listed(field, sorted(values))}"
                )
            missing = np.any([unknown[field] for field in fields], axis=0)
            columns.append(_fill_template(template, values, missing))
        captions, codes = np.unique(np.array(columns, dtype=object).T, return_inverse=True)
        codes = codes.reshape(len(table), -1).astype(np.int64)
        empty = int(captions[0] == "")  # templates that could not be filled sort first
        return CaptionTable(captions[empty:].tolist(), codes - empty, self.own, self.drop)


@dataclass(frozen=True)
class CaptionTable:
    """The captions that each item of a table may be trained with.

    Attributes:
        captions: the distinct captions.
        codes: (N, T) long indices into `captions`: the item's own text in column 0, then each
            template; UNKNOWN for none.
        own: probability of the item's own text, 0 to 1.
        drop: probability that a word is left out, 0 to below 1.
    """

    captions: list[str]
    codes: NDArray[np.int64]
    own: float
    drop: float

    def choose(self, row: int, seed: str) -> int:
        """Choose a caption of an item at random.

        Args:
            row: the item's row.
            seed: seed of the choice.

        Returns:
            The column of `codes`; 0 for an item without captions.
        """
        rng = random.Random(f"caption-{seed}")
        usable = [t for t in range(1, self.codes.shape[1]) if self.codes[row, t] >= 0]
        if not usable or (self.codes[row, 0] >= 0 and rng.random() < self.own):
            return 0
        return rng.choice(usable)

    def merge_equal_tokens(self, tokens: Tensor) -> "CaptionTable":
        """Give captions with equal tokens the same code.

        Args:
            tokens: (captions, L) long tokens of each caption, in the order of their codes.
        """
        if not self.captions:
            return self
        same = tokens.unique(dim=0, return_inverse=True)[1].numpy()
        first = np.full(same.max() + 1, len(self.captions))
        np.minimum.at(first, same, np.arange(len(same)))
        codes = np.where(self.codes < 0, self.codes, first[same][self.codes.clip(min=0)])
        return replace(self, codes=codes)

    def drop_words(self, code: int, seed: str) -> str:
        """Drop words of a caption at random, but never all of them.

        Args:
            code: index into `captions`.
            seed: seed of the choice.
        """
        rng = random.Random(f"words-{seed}")
        words = self.captions[code].split()
        kept = [word for word in words if rng.random() >= self.drop]
        return " ".join(kept or words)


def _fill_template(
    template: str, values: Mapping[str, Sequence[str]], missing: NDArray[np.bool_]
) -> list[str]:
    """Fill a template with each item's values; empty where one of them is missing."""
    names = list(values)
    rows = zip(*values.values(), strict=True)
    return [
        "" if is_missing else template.format(**dict(zip(names, row, strict=True)))
        for is_missing, row in zip(missing.tolist(), rows, strict=True)
    ]
