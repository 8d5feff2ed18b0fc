"""Search items with one or more models side by side, for the demo page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fashret.catalog.ann_index import CandidateSource
from fashret.catalog.candidates import likely_rows
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import DataError
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import Ranking, topk
from fashret.functional.units import topk_units, units_of
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query of the search page; without text and photo it lists all items.

    Attributes:
        text: the query text; empty for none.
        photo: the query photo; None for none.
        item: a row of the item table whose photo is the query, instead of `photo`.
        weight_image: the weight of the photo in a query of both, 0 to 1.
        weights: the weights of the attribute heads, as `retrieval.weights`.
        filters: the value that items must have, by attribute.
    """

    text: str = ""
    photo: Image.Image | None = None
    item: int | None = None
    weight_image: float = 0.5
    weights: Mapping[str, float] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)


class IndexedModel(NamedTuple):
    """A model and its embeddings of the n items.

    Attributes:
        name: the name of the model on the page.
        towers: the model that embeds queries.
        image: (n, D) embeddings of the items' photos.
        text: (n, D) embeddings of their texts, imputed where an item has none (`impute_texts`).
        source: proposes rows of the item table for a query of a photo or a text; None to score all.
    """

    name: str
    towers: Retriever
    image: Tensor
    text: Tensor
    source: CandidateSource | None = None


@dataclass(frozen=True)
class Search:
    """The items of a page and the models that search them.

    Attributes:
        models: the models, the evaluated one first.
        table: the item table.
        codes: the codes of the table.
        rows: (n,) the rows of the table that are searched, ascending; row i of each model's
            embeddings is item `rows[i]`.
        results: the number of hits shown.
        by_product: whether each product is shown once, by its best photo.
    """

    models: Sequence[IndexedModel]
    table: ItemTable
    codes: ItemCodes
    rows: NDArray[np.int64]
    results: int = 24
    by_product: bool = False

    @property
    def values(self) -> dict[str, list[str]]:
        """The values of each attribute among the items, for the filters of the page."""
        by_attribute = {}
        for name, (codes, values) in self._described.items():
            present = np.unique(codes[self.rows])
            by_attribute[name] = [values[code] for code in present if code != UNKNOWN]
        return {name: values for name, values in by_attribute.items() if values}

    @property
    def attribute_heads(self) -> list[str]:
        """The attributes that have a head in any of the models."""
        layouts = [model.towers.layout for model in self.models]
        return list(dict.fromkeys(name for layout in layouts for name in layout.attributes))

    @torch.inference_mode()
    def find(self, query: Query) -> list[dict[str, Any]]:
        """Search the items with each model.

        A photo and a text together are a fused query as in evaluation: the photo is compared with
        the items' photos, the text with their texts, weighed by `weight_image`. A text or a photo
        alone is compared with the items' photos.

        Returns:
            For each model its `name`, and its `hits`: row, score, similarity to the query's photo
            and text (None for a part that the query lacks), title and values.

        Raises:
            DataError: the query names an item, attribute head or value that does not exist.
        """
        candidates = self._candidates(query)
        return [
            {"name": model.name, "hits": self._hits(model, candidates, query)}
            for model in self.models
        ]

    def _candidates(self, query: Query) -> NDArray[np.int64]:
        """The positions in `rows` that pass the filters."""
        if query.item is not None and query.item not in self.rows:
            raise DataError(f"item {query.item} is not on this page")
        for name in query.weights:
            if name not in self.attribute_heads:
                raise DataError(f"no model on this page has an attribute head for {name}")
        passed = np.ones(len(self.rows), dtype=bool)
        for name, value in query.filters.items():
            codes, values = self._described.get(name, (None, []))
            if codes is None or value not in values:
                raise DataError(f"no item has {name} {value}")
            passed &= codes[self.rows] == values.index(value)
        if query.item is not None:
            passed &= self.rows != query.item
        return np.flatnonzero(passed)

    def _hits(
        self, model: IndexedModel, candidates: NDArray[np.int64], query: Query
    ) -> list[dict[str, Any]]:
        photo, text = self._embedded_query(model, query)
        parts = {"photo": photo, "text": text}
        given = [part for part in (photo, text) if part is not None]
        if not given or not len(candidates):
            return [self._hit(int(position), None, {}) for position in candidates[: self.results]]
        layout = model.towers.layout
        if model.source is not None and len(given) == 1:
            units = self._units if self.by_product else None
            asked = layout.weighted(given[0], query.weights)
            rows, total = self.rows[candidates], len(self.table)
            likely = likely_rows(model.source, asked, rows, total, self.results, units)
            candidates = np.searchsorted(self.rows, likely)
        positions = torch.from_numpy(candidates).to(model.image.device)
        image, text_of_items = model.image[positions], model.text[positions]
        queries: Vectors = layout.weighted(given[0], query.weights)
        items: Vectors = image
        compared = {"photo": image, "text": image}
        if photo is not None and text is not None:
            weighted_text = layout.weighted(text, query.weights)
            weighted_photo = layout.weighted(photo, query.weights)
            queries = Fused(weighted_photo, weighted_text, query.weight_image)
            items = Fused(image, text_of_items, query.weight_image)
            compared["text"] = text_of_items
        most = min(self.results, len(candidates))
        if self.by_product:
            of_products = np.unique(self._units[self.rows[candidates]], return_inverse=True)[1]
            found = topk_units(queries, items, most, torch.from_numpy(of_products))
            count = int((found.rows[0] >= 0).sum())
            ranking = Ranking(found.rows[:, :count], found.scores[:, :count])
        else:
            ranking = topk(queries, items, most)
        similarity = {
            name: (layout.block(part) @ layout.block(compared[name][ranking.rows[0]]).T)[0].tolist()
            for name, part in parts.items()
            if part is not None
        }
        return [
            self._hit(
                int(candidates[row]), score, {name: part[rank] for name, part in similarity.items()}
            )
            for rank, (row, score) in enumerate(
                zip(ranking.rows[0].tolist(), ranking.scores[0].tolist(), strict=True)
            )
        ]

    def _embedded_query(
        self, model: IndexedModel, query: Query
    ) -> tuple[Tensor | None, Tensor | None]:
        """The (1, D) embeddings of the query's photo and text; None for a missing part."""
        photo = None
        if query.photo is not None:
            photo = model.towers.embed_photos([query.photo])
        elif query.item is not None:
            photo = model.image[int(np.searchsorted(self.rows, query.item))][None]
        return photo, model.towers.embed_texts([query.text]) if query.text.strip() else None

    def _hit(
        self, position: int, score: float | None, parts: Mapping[str, float | None]
    ) -> dict[str, Any]:
        row = int(self.rows[position])
        values = {
            name: values[codes[row]]
            for name, (codes, values) in self._described.items()
            if codes[row] != UNKNOWN
        }
        return {
            "row": row,
            "score": score,
            "photo": parts.get("photo"),
            "text": parts.get("text"),
            "title": self._titles[row] or "",
            "values": values,
        }

    @cached_property
    def _units(self) -> NDArray[np.int64]:
        """(N,) the number of each row's product; an item without one is one of its own."""
        found: NDArray[np.int64] = units_of(self.codes.product).numpy()
        return found

    @cached_property
    def _described(self) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
        """Codes and values of the category and of each attribute."""
        described = self.codes.labels.items()
        return {name: (codes.numpy(), values) for name, (codes, values) in described}

    @cached_property
    def _titles(self) -> list[str | None]:
        return self.table.column("text")
