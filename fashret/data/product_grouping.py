"""Grouping of photos into products by file names and by titles, with a confidence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import ConfigError
from fashret.types import UNKNOWN

_CHUNK = 65_536
"""Pairs of photos that are compared at a time."""

_ENDING = re.compile(r"(?<=[^/])\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""The file name ending of a photo's path."""

STATED = 1.0
"""The confidence of a product id that the data set itself states."""


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


@dataclass(frozen=True)
class Products:
    """The products of N items.

    Attributes:
        codes: (N,) int code of each item's product, UNKNOWN (-1) where it has none.
        confidence: (N,) float confidence that it is right, 0 to 1; `STATED` by the data set.
        names: the ids of the products by code.
    """

    codes: NDArray[np.int32]
    confidence: NDArray[np.float64]
    names: pa.Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) whether an item has a product."""
        known: NDArray[np.bool_] = self.codes != UNKNOWN
        return known

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(N,) number of items of each item's product; 0 where it has none."""
        counts = np.bincount(self.codes[self.known], minlength=len(self.names) + 1)
        return np.where(self.known, counts[self.codes], 0)

    def column(self, rows: slice | NDArray[np.int64] = slice(None)) -> pa.Array:
        """The ids of the products of all items, or of some, null where they have none."""
        codes = self.codes[rows]
        return self.names.take(pa.array(codes, mask=codes == UNKNOWN))


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Rules that group photos into products where the data set has no product ids.

    Products are inferred from file names before anything is encoded, so that a product is in one
    split; and from equal titles of visually similar photos, once the untrained model has encoded
    them.

    Args:
        min_confidence: products of a lower confidence count as unknown, 0 to 1.
        names: rules by name for photos' paths without their ending; the first one that matches the
            full path applies. A rule has `pattern`, a regular expression with a group `product`,
            which is shared by the photos of one product, and `confidence`, 0 to 1.
        largest: names or titles that are shared by more photos are not treated as a product, at
            least 2 ("photo_1", "T-shirt").
        title_similarity: smallest cosine similarity of two photos with the same title that are
            grouped, -1 to 1.
        title_confidence: confidence of products that are grouped by title, 0 to 1.
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
                raise ConfigError(f"{key}.pattern needs a group (?P<product>...)")

    def identity(self) -> dict[str, Any]:
        """Collect the options that determine products before anything is encoded."""
        return {"names": [list(rule.values()) for _, rule in self._rules], "largest": self.largest}

    def product_from_name(self, name: str) -> tuple[str, float]:
        """Infer a photo's product and its confidence from the photo's name.

        A name that matches no pattern is a product of its own, with confidence 0.

        Args:
            name: the photo's path below the root of its data set, or an item's id.
        """
        stem = _ENDING.sub("", name)
        for pattern, confidence in self._patterns:
            if match := pattern.fullmatch(stem):
                return match["product"], confidence
        return stem, 0.0

    def split_groups(self, products: Products) -> NDArray[np.int32]:
        """Choose the products whose items must be in one split: stated ones and small ones.

        Args:
            products: the product of each of N items.

        Returns:
            (N,) int product of each item, -1 where its items may be in different splits.
        """
        together = (products.confidence >= STATED) | (products.sizes <= self.largest)
        return np.where(together, products.codes, np.int32(UNKNOWN))

    def final_products(self, products: Products) -> Products:
        """Finish the inferred products: the confidence of the best photo, and none too large.

        So `dress` is a photo of the product of `dress-back`. Stated products do not change.

        Args:
            products: the product of each item.
        """
        codes, inferred = products.codes, products.confidence < STATED
        highest = np.zeros(len(products.names))
        np.maximum.at(highest, codes[products.known], products.confidence[products.known])
        best = products.confidence.copy()
        raised = products.known & inferred
        best[raised] = highest[codes[raised]]
        none = ~products.known | (inferred & (products.sizes > self.largest)) | (best <= 0.0)
        return Products(
            np.where(none, np.int32(UNKNOWN), codes), np.where(none, 0.0, best), products.names
        )

    def join_by_title(
        self, titles: Sequence[str], images: Tensor, products: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Join products, and photos without one, with equal titles and visually similar photos.

        Args:
            titles: titles of N items; case, punctuation and spaces are ignored.
            images: (N, D) float embeddings of the photos, L2-normalised.
            products: (N,) long codes of products, UNKNOWN for none.

        Returns:
            (N,) long codes, equal for joined items; (N,) bool: the item was joined by title.
        """
        first, second = self._similar_pairs(titles, images)
        node = torch.where(
            products == UNKNOWN, products.max() + 1 + torch.arange(len(products)), products
        )
        graph: nx.Graph[int] = nx.Graph()
        graph.add_edges_from(zip(node[first].tolist(), node[second].tolist(), strict=True))
        merged_node: dict[int, int] = {}
        for component in nx.connected_components(graph):
            merged_node |= dict.fromkeys(component, min(component))
        joined = torch.tensor([n in merged_node for n in node.tolist()], dtype=torch.bool)
        merged = torch.tensor([merged_node.get(n, n) for n in node.tolist()], dtype=torch.long)
        return torch.where(joined, merged, products), joined

    def _similar_pairs(self, titles: Sequence[str], images: Tensor) -> tuple[Tensor, Tensor]:
        """Find pairs of rows with one title and visually similar photos."""
        plain = [re.sub(r"[\W_]+", " ", title).casefold().strip() or None for title in titles]
        code = pd.factorize(np.array(plain, dtype=object))[0]  # -1 for no title
        count = np.bincount(code[code >= 0], minlength=1)[code]
        usable = (code >= 0) & (count > 1) & (count <= self.largest)
        by_title = np.argsort(code, kind="stable")
        rows = torch.from_numpy(by_title[usable[by_title]])
        title = torch.from_numpy(code)
        firsts, seconds = [rows[:0]], [rows[:0]]
        for offset in range(1, self.largest):  # rows of one title are next to each other
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
        """The rules that are not disabled with null."""
        return [(name, rule) for name, rule in self.names.items() if rule is not None]
