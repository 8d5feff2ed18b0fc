"""What the search page asks, and what each model answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import DataError
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import topk
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Query:
    """What somebody looks for. Without a text and a photo it is a look at all items.

    Attributes:
        text: typed; empty for none.
        photo: dropped on the page.
        item: a row of the table whose photo is asked with, in place of a dropped one.
        weight_image: how much the photo counts beside the text, 0 to 1.
        weights: by attribute block, as `retrieval.weights`.
        filters: the value that items must have, by attribute.
    """

    text: str = ""
    photo: Image.Image | None = None
    item: int | None = None
    weight_image: float = 0.5
    weights: Mapping[str, float] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)


class IndexedModel(NamedTuple):
    """What one model makes of the items that can be found.

    Attributes:
        name: what the page calls it.
        towers: embed what is asked.
        image: (n, D) embeddings of the items' photos.
        text: (n, D) embeddings of their texts, imputed where an item has none (`impute_texts`).
    """

    name: str
    towers: Retriever
    image: Tensor
    text: Tensor


@dataclass(frozen=True)
class Search:
    """Items that models search side by side.

    Attributes:
        models: a model each, the one in question first.
        table: the items.
        codes: of the table.
        rows: ascending, the rows of the table that can be found: those of the models.
        results: how many are shown.
    """

    models: Sequence[IndexedModel]
    table: ItemTable
    codes: ItemCodes
    rows: NDArray[np.int64]
    results: int = 24

    @property
    def values(self) -> dict[str, list[str]]:
        """What can be filtered by: the values of each attribute among `rows`."""
        known = {}
        for name, (codes, values) in self._described.items():
            present = np.unique(codes[self.rows])
            known[name] = [values[code] for code in present if code != UNKNOWN]
        return {name: values for name, values in known.items() if values}

    @property
    def steered(self) -> list[str]:
        """The attributes that a system has a block of."""
        layouts = [model.towers.layout for model in self.models]
        return list(dict.fromkeys(name for layout in layouts for name in layout.attributes))

    @torch.inference_mode()
    def find(self, query: Query) -> list[dict[str, Any]]:
        """The best items of each model.

        A photo and a text together are a fused query as in evaluation: the photo is compared with
        the items' photos, the text with their texts, weighed by `weight_image`. A text or a photo
        alone is compared with the items' photos.

        Returns:
            For each model its `name`, and `hits`: row, score, likeness to the photo and to the
            text that ask (None for what was not asked with), text and values.

        Raises:
            DataError: the query names a row, a block or a value that there is not.
        """
        shown = self._candidates(query)
        return [
            {"name": model.name, "hits": self._hits(model, shown, query)} for model in self.models
        ]

    def _candidates(self, query: Query) -> NDArray[np.int64]:
        """Places in `rows` that the filters leave."""
        if query.item is not None and query.item not in self.rows:
            raise DataError(f"item {query.item} is not on this page")
        for name in query.weights:
            if name not in self.steered:
                raise DataError(f"no model here has a block of {name}")
        left = np.ones(len(self.rows), dtype=bool)
        for name, value in query.filters.items():
            codes, values = self._described.get(name, (None, []))
            if codes is None or value not in values:
                raise DataError(f"no item has {name} {value}")
            left &= codes[self.rows] == values.index(value)
        if query.item is not None:
            left &= self.rows != query.item
        return np.flatnonzero(left)

    def _hits(
        self, model: IndexedModel, shown: NDArray[np.int64], query: Query
    ) -> list[dict[str, Any]]:
        photo, text = self._asked(model, query)
        parts = {"photo": photo, "text": text}
        asked = [part for part in (photo, text) if part is not None]
        if not asked or not len(shown):
            return [self._hit(int(place), None, {}) for place in shown[: self.results]]
        layout = model.towers.layout
        places = torch.from_numpy(shown).to(model.image.device)
        image, text_of_items = model.image[places], model.text[places]
        queries: Vectors = layout.weighted(asked[0], query.weights)
        items: Vectors = image
        compared = {"photo": image, "text": image}
        if photo is not None and text is not None:
            asking = layout.weighted(text, query.weights)
            queries = Fused(layout.weighted(photo, query.weights), asking, query.weight_image)
            items = Fused(image, text_of_items, query.weight_image)
            compared["text"] = text_of_items
        found = topk(queries, items, min(self.results, len(shown)))
        alike = {
            name: (layout.block(part) @ layout.block(compared[name][found.rows[0]]).T)[0].tolist()
            for name, part in parts.items()
            if part is not None
        }
        return [
            self._hit(int(shown[row]), score, {name: part[rank] for name, part in alike.items()})
            for rank, (row, score) in enumerate(
                zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True)
            )
        ]

    def _asked(self, model: IndexedModel, query: Query) -> tuple[Tensor | None, Tensor | None]:
        """The (1, D) embeddings of the photo and of the text that ask."""
        photo = None
        if query.photo is not None:
            photo = model.towers.embed_photos([query.photo])
        elif query.item is not None:
            photo = model.image[int(np.searchsorted(self.rows, query.item))][None]
        return photo, model.towers.embed_texts([query.text]) if query.text.strip() else None

    def _hit(
        self, place: int, score: float | None, parts: Mapping[str, float | None]
    ) -> dict[str, Any]:
        row = int(self.rows[place])
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
    def _described(self) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
        """Codes and values of the category and of each attribute."""
        described = self.codes.labels.items()
        return {name: (codes.numpy(), values) for name, (codes, values) in described}

    @cached_property
    def _titles(self) -> list[str | None]:
        return self.table.column("text")
