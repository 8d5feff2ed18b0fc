"""Which photos show one product, and how sure that is."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.types import UNKNOWN

STATED = 1.0
"""The confidence of a product id that the set itself gives."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How the photos of one product are found where the set does not say.

    By the names of files before anything is encoded, so that a product stays on one side of a
    split; by equal titles of photos that the untrained model takes for nearly the same, once it
    has encoded them.

    Args:
        min_confidence: a product that is less sure counts as unknown, 0 to 1.
        names: patterns of file names without their ending, by a name of their own, the first that
            fits the whole name decides: `pattern`, a regular expression whose part `product` is
            what the photos of one product share, and `confidence`.
        largest: a name or a title that more photos share is no product's ("photo_1", "T-shirt").
        title_similarity: the least similarity of two photos of one title and one product.
        title_confidence: of a product that was found so.
    """

    min_confidence: float
    names: Mapping[str, Mapping[str, Any] | None]
    largest: int
    title_similarity: float
    title_confidence: float

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

    def by_name(self, names: Sequence[str]) -> list[tuple[str | None, float]]:
        """The product and its confidence that each photo's name tells.

        Args:
            names: paths of photos; those of different folders are of different products.
        """
        found = [self._product(name) for name in names]
        sure = {product: confidence for product, confidence in found if product}
        for i, name in enumerate(names):
            if found[i][0] is None and (plain := _without_ending(name)) in sure:
                found[i] = plain, sure[plain]  # "dress" beside "dress-back"
        sizes = Counter(product for product, _ in found)
        return [
            (None, 0.0) if sizes[product] > self.largest else (product, confidence)
            for product, confidence in found
        ]

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
        plain = np.array([re.sub(r"[\W_]+", " ", title).casefold().strip() for title in titles])
        _, code, count = np.unique(plain, return_inverse=True, return_counts=True)
        usable = (count[code] > 1) & (count[code] <= self.largest) & (plain != "")
        by_title = np.argsort(code, kind="stable")
        rows = torch.from_numpy(by_title[usable[by_title]])
        title = torch.from_numpy(code)
        firsts, seconds = [rows[:0]], [rows[:0]]
        for offset in range(1, self.largest):  # rows of one title stand together
            first, second = rows[:-offset], rows[offset:]
            equal = title[first] == title[second]
            first, second = first[equal], second[equal]
            near = (images[first].float() * images[second].float()).sum(dim=1)
            near = near >= self.title_similarity
            firsts.append(first[near])
            seconds.append(second[near])
        return torch.cat(firsts), torch.cat(seconds)

    def _product(self, name: str) -> tuple[str | None, float]:
        folder, _, stem = _without_ending(name).rpartition("/")
        for pattern, confidence in self._patterns:
            if match := pattern.fullmatch(stem):
                return f"{folder}/{match['product']}".lstrip("/"), confidence
        return None, 0.0

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


def _without_ending(name: str) -> str:
    """The path of a photo without the ending of its file."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] or file}".lstrip("/")
