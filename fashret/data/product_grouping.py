"""Which photos show one product, and how sure that is."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.types import UNKNOWN

_CHUNK = 65_536
"""Pairs of photos that are compared at a time."""

_ENDING = re.compile(r"(?<=[^/])\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""The ending of a photo's file: what follows a point in an id is none."""

STATED = 1.0
"""The confidence of a product id that the set itself gives."""


NAME_RULES: dict[str, dict[str, Any]] = {
    "item": {
        "pattern": r"(?P<product>.*\bid_\d{4,})([-_./ ].*)?",
        "confidence": 0.95,
    },
    "view": {
        "pattern": r"(?P<product>.*[^/])[-_. ]+(front|back|side|left|right|full|flat|detail|close|closeup|zoom|model|additional|alt|view)[-_ ]?\d{0,2}",  # noqa: E501
        "confidence": 0.9,
    },
    "sku": {
        "pattern": r"(?P<product>(.*/)?(?!(img|image|dsc\w?|dcim|pxl|mvi|photo|pic|picture)[-_ ]?\d)[a-z]{1,5}[-_]?\d{4,12})([-_. ][^/]*)?",  # noqa: E501
        "confidence": 0.8,
    },
    "number": {
        "pattern": r"(?P<product>(.*/)?(?!(img|image|dsc\w?|dcim|pxl|mvi|photo|pic|picture)[-_ ]?\d)[^/]*\d{3,})[-_. ]+\d{1,2}",  # noqa: E501
        "confidence": 0.7,
    },
    "name": {
        "pattern": r"(?P<product>.*[^/\d])[-_. ]+\d{1,2}",
        "confidence": 0.5,
    },
}
"""How paths of photos name products; conf/data/base/groups.yaml says what each is for."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How the photos of one product are found where the set does not say.

    By the names of files before anything is encoded, so that a product stays on one side of a
    split; by equal titles of photos that the untrained model takes for nearly the same, once it
    has encoded them.

    Args:
        min_confidence: a product that is less sure counts as unknown, 0 to 1.
        names: patterns of photos' paths without their ending, by a name of their own, the first
            that fits the whole path decides: `pattern`, a regular expression whose part `product`
            is what the photos of one product share, and `confidence`.
        largest: a name or a title that more photos share is no product's ("photo_1", "T-shirt").
        title_similarity: the least similarity of two photos of one title and one product.
        title_confidence: of a product that was found so.
    """

    min_confidence: float = 0.6
    names: Mapping[str, Mapping[str, Any] | None] = field(default_factory=lambda: dict(NAME_RULES))
    largest: int = 12
    title_similarity: float = 0.98
    title_confidence: float = 0.65

    def __post_init__(self) -> None:
        if self.largest < 2:
            raise ConfigError(f"data.groups.largest is {self.largest}: it must be at least 2")
        for name, rule in self._rules:
            key = f"data.groups.names.{name}"
            if set(rule) != {"pattern", "confidence"}:
                raise ConfigError(f"{key} holds {', '.join(rule)}: it needs pattern and confidence")
            try:
                groups = re.compile(rule["pattern"]).groupindex
            except re.error as e:
                raise ConfigError(f"{key}.pattern is no regular expression: {e}") from e
            if "product" not in groups:
                raise ConfigError(f"{key}.pattern has no part (?P<product>...)")

    def identity(self) -> dict[str, Any]:
        """What decides products before anything is encoded."""
        return {"names": [list(rule.values()) for _, rule in self._rules], "largest": self.largest}

    def by_name(self, name: str) -> tuple[str, float]:
        """The product that a photo's name tells, and how sure that is.

        One that fits no pattern is its own, with the confidence 0.

        Args:
            name: the photo's path below the root of its set, or an item's id.
        """
        stem = _ENDING.sub("", name)
        for pattern, confidence in self._patterns:
            if match := pattern.fullmatch(stem):
                return match["product"], confidence
        return stem, 0.0

    def not_too_large(
        self, products: Sequence[str | None], confidences: Sequence[float]
    ) -> list[str | None]:
        """Products that keep their items on one side of a split: stated, or of few items."""
        sizes = Counter(products)
        return [
            product if confidence >= STATED or sizes[product] <= self.largest else None
            for product, confidence in zip(products, confidences, strict=True)
        ]

    def settled(
        self, products: Sequence[str | None], confidences: Sequence[float]
    ) -> list[tuple[str | None, float]]:
        """Products over a whole set: as sure as their surest photo, and none that is too large.

        `dress` is so a photo of the product of `dress-back`. What the set states stands.
        """
        sizes = Counter(products)
        surest: dict[str | None, float] = {}
        for product, confidence in zip(products, confidences, strict=True):
            surest[product] = max(confidence, surest.get(product, 0.0))
        found: list[tuple[str | None, float]] = []
        for product, confidence in zip(products, confidences, strict=True):
            told = confidence < STATED
            if product is None or (told and sizes[product] > self.largest):
                found.append((None, 0.0))
            else:
                sure = surest[product] if told else confidence
                found.append((product, sure) if sure > 0.0 else (None, 0.0))
        return found

    def by_title(
        self, titles: Sequence[str], images: Tensor, products: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Join products, and photos without one, whose titles are equal and photos near-equal.

        Args:
            titles: of N items; equal ones differ in case, punctuation and space at most.
            images: (N, D), L2-normalised.
            products: (N,) long codes.

        Returns:
            (N,) codes, equal for what was joined; (N,) bool, what was joined by this.
        """
        first, second = self._alike(titles, images)
        node = torch.where(
            products == UNKNOWN, products.max() + 1 + torch.arange(len(products)), products
        )
        graph: nx.Graph[int] = nx.Graph()
        graph.add_edges_from(zip(node[first].tolist(), node[second].tolist(), strict=True))
        whole: dict[int, int] = {}
        for component in nx.connected_components(graph):
            whole |= dict.fromkeys(component, min(component))
        joined = torch.tensor([n in whole for n in node.tolist()], dtype=torch.bool)
        merged = torch.tensor([whole.get(n, n) for n in node.tolist()], dtype=torch.long)
        return torch.where(joined, merged, products), joined

    def _alike(self, titles: Sequence[str], images: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of rows of one title and near-equal photos."""
        plain = [re.sub(r"[\W_]+", " ", title).casefold().strip() or None for title in titles]
        code = pd.factorize(np.array(plain, dtype=object))[0]  # -1 for no title
        count = np.bincount(code[code >= 0], minlength=1)[code]
        usable = (code >= 0) & (count > 1) & (count <= self.largest)
        by_title = np.argsort(code, kind="stable")
        rows = torch.from_numpy(by_title[usable[by_title]])
        title = torch.from_numpy(code)
        firsts, seconds = [rows[:0]], [rows[:0]]
        for offset in range(1, self.largest):  # rows of one title stand together
            first, second = rows[:-offset], rows[offset:]
            equal = title[first] == title[second]
            first, second = first[equal], second[equal]
            for a, b in zip(first.split(_CHUNK), second.split(_CHUNK), strict=True):
                near = (images[a].float() * images[b].float()).sum(dim=1) >= self.title_similarity
                firsts.append(a[near])
                seconds.append(b[near])
        return torch.cat(firsts), torch.cat(seconds)

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], float]]:
        return [
            (re.compile(rule["pattern"], re.IGNORECASE), float(rule["confidence"]))
            for _, rule in self._rules
        ]

    @property
    def _rules(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The patterns that are not switched off."""
        return [(name, rule) for name, rule in self.names.items() if rule is not None]
