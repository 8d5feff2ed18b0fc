"""Search the items of a run or a catalog by text, by photo, or by both."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.cache import default_cache_dir
from fashret.catalog.ann_index import CandidateSource
from fashret.catalog.candidates import candidate_source, likely_rows
from fashret.catalog.folder import Catalog, check_embeddings, open_catalog
from fashret.errors import CatalogError, ConfigError
from fashret.evaluation.options import BY
from fashret.functional.blocks import Layout
from fashret.functional.imputation import impute_texts
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import topk
from fashret.functional.units import topk_units, units_of
from fashret.models.backbone import load_backbone
from fashret.models.device import pick_device
from fashret.models.encoding import Photo, open_photo
from fashret.models.heads import Heads
from fashret.models.retriever import Retriever
from fashret.models.spec import SHIPPED, ModelSpec
from fashret.pipelines.session import check_weights
from fashret.pipelines.systems import System
from fashret.reports.contact_sheet import thumbnail
from fashret.reports.web import data_uri, render
from fashret.types import UNKNOWN

_SIDE = 120
"""Pixels of a photo's longer side in a notebook."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """A retrieved item.

    Attributes:
        item_id: the id of the item.
        score: the inner product with the query: a cosine similarity for a text or photo alone.
        text: the text of the item, "" for none.
        values: the known values of its category and attributes, by name.
        row: the row of the item in the index.
    """

    item_id: str
    score: float
    text: str
    values: Mapping[str, str]
    row: int


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of a search, best first: a sequence that a notebook shows with photos.

    Attributes:
        query: the query in words.
        hits: the retrieved items.
        photo: returns the encoded photo of a row; None if the index has no photos.
    """

    query: str
    hits: Sequence[Hit]
    photo: Callable[[int], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def ids(self) -> list[str]:
        """The item ids of the hits."""
        return [hit.item_id for hit in self.hits]

    @property
    def scores(self) -> list[float]:
        """The scores of the hits, descending."""
        return [hit.score for hit in self.hits]

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def _repr_html_(self) -> str:
        """The photos with their scores as HTML, for notebooks."""
        photos = [
            None if self.photo is None else data_uri(thumbnail(self.photo(hit.row), _SIDE))
            for hit in self.hits
        ]
        return render("hits.html", query=self.query, hits=list(zip(self.hits, photos, strict=True)))


@dataclass(frozen=True)
class Index:
    """Embedded items, ready to be searched.

    Attributes:
        retriever: the model that embeds queries.
        image: (N, D) embeddings of the items' photos.
        text: (N, D) embeddings of their texts, imputed where an item has none.
        ids: the N item ids.
        texts: the N texts, "" for none.
        values: (N,) str values by name of the attribute (or `category`), "" for unknown.
        photo: returns the encoded photo of a row; None if the index has no photos.
        products: the N product ids, None for an item without one.
        source: proposes the rows that are scored for a query of a photo or a text; None to score
            all.
    """

    retriever: Retriever
    image: Tensor
    text: Tensor
    ids: Sequence[str]
    texts: Sequence[str]
    values: Mapping[str, NDArray[np.object_]]
    photo: Callable[[int], bytes] | None = None
    products: Sequence[str | None] = ()
    source: CandidateSource | None = None

    @classmethod
    def from_system(cls, system: System) -> "Index":
        """Index all items of a trained or evaluated system's data set."""
        table, stored = system.session.table, system.embeddings
        heads = system.retriever
        model = system.towers if heads is None or system.session.spec.has_towers else heads
        values = {name: _value_column(table.column(name)) for name in table.categorical_columns}
        image, text = _embeddings(stored, model.layout, system.session.device)
        ids, texts = table.column("item_id"), [each or "" for each in table.column("text")]
        products = table.column("product_id")
        return cls(model, image, text, ids, texts, values, table.photo, products)

    @classmethod
    def from_catalog(
        cls,
        folder: Path,
        model: Retriever | None = None,
        *,
        device: str | torch.device = "auto",
        cache_dir: Path | None = None,
    ) -> "Index":
        """Index a catalog folder.

        Args:
            folder: the folder of the catalog.
            model: the model that embeds queries; None loads the model that the catalog was built
                with.
            device: the device of the loaded model.
            cache_dir: the folder of downloaded weights; None for the default cache.

        Raises:
            CatalogError: the catalog is incomplete, its embeddings contain NaN or Inf, its model
                cannot be loaded, or `model` is another one.
        """
        catalog = open_catalog(folder)
        check_embeddings(catalog)
        if model is None:
            model = _model_of(catalog, cache_dir or default_cache_dir())
            model = model.eval().requires_grad_(False).to(pick_device(device))
        if model.dim != catalog.manifest["dim"]:
            raise CatalogError(
                f"{folder} has embeddings of {catalog.manifest['dim']} dimensions, the model "
                f"of {model.dim}: give the model that the catalog was built with"
            )
        if not _same_heads(model.heads, catalog.heads):
            raise CatalogError(
                f"{folder} was built by another model than the one given: give the run or the "
                "model that it was built with"
            )
        meta = catalog.meta()
        value_columns = [name for name in meta.columns if name not in _NO_VALUES]
        image, text = _embeddings(catalog, model.layout, model.device)
        return cls(
            model,
            image,
            text,
            meta["item_id"].tolist(),
            meta["text"].fillna("").tolist(),
            {name: _value_column(meta[name].fillna("").tolist()) for name in value_columns},
            products=[None if product != product else product for product in meta["product_id"]],
            source=candidate_source(catalog),
        )

    def search(
        self,
        *,
        text: str | NDArray[np.floating[Any]] | None = None,
        image: Photo | NDArray[np.floating[Any]] | None = None,
        item: str | None = None,
        k: int = 10,
        where: Mapping[str, str | Sequence[str]] | None = None,
        weight_image: float = 0.7,
        weights: Mapping[str, float] | None = None,
        by: str = "item",
    ) -> SearchResult:
        """Search the items; see `fashret.search` for the arguments."""
        if (text is None and image is None and item is None) or (
            image is not None and item is not None
        ):
            raise ConfigError("search: give text=, image= or item=, or a text with one of them")
        if not isinstance(k, int) or k < 1:
            raise ConfigError(f"search: k={k} must be a whole number of at least 1")
        if where is not None and not isinstance(where, Mapping):
            raise ConfigError(
                f"search: where={where!r} must name values: {{'category': 'dresses'}}"
            )
        if not isinstance(text, str | np.ndarray | None):
            raise ConfigError(f"search: text={text!r} must be a text, or its embedding")
        if not isinstance(weight_image, int | float) or not 0.0 <= weight_image <= 1.0:
            raise ConfigError(f"search: weight_image={weight_image} must be between 0 and 1")
        if by not in BY:
            raise ConfigError(f"search: by={by} must be {' or '.join(BY)}")
        check_weights(weights, self.retriever.layout.attributes)
        rows = self._rows(where or {})
        described = _describe_query(text, image, item, where)
        if not len(rows):
            return SearchResult(described, [], self.photo)
        layout, parts = self.retriever.layout, []
        if image is not None:
            parts.append(self._photo_query(image))
        if item is not None:
            parts.append(self._item_query(item))
        if text is not None:
            parts.append(self._text_query(text))
        parts = [layout.weighted(part, weights or {}) for part in parts]
        if self.source is not None and len(parts) == 1:
            units = self._product_codes if by == "product" else None
            rows = likely_rows(self.source, parts[0], rows, len(self.ids), k, units)
        item_image, item_text = self.image, self.text
        if len(rows) < len(self.ids):
            row_idx = torch.from_numpy(rows).to(self.image.device)
            item_image, item_text = item_image[row_idx], item_text[row_idx]
        queries: Vectors = parts[0]
        items: Vectors = item_image
        if len(parts) == 2:
            queries = Fused(parts[0], parts[1], weight_image)
            items = Fused(item_image, item_text, weight_image)
        if by == "product":
            ranking = topk_units(queries, items, min(k, len(rows)), self._units(rows))
        else:
            ranking = topk(queries, items, min(k, len(rows)))
        pairs = zip(ranking.rows[0].tolist(), ranking.scores[0].tolist(), strict=True)
        hits = [self._hit(int(rows[position]), score) for position, score in pairs if position >= 0]
        return SearchResult(described, hits, self.photo)

    @torch.inference_mode()
    def _photo_query(self, image: Photo | NDArray[np.floating[Any]]) -> Tensor:
        """Embed a photo, or take the embedding of one: (1, D)."""
        if isinstance(image, np.ndarray) and image.ndim == 1:
            if self.retriever.backbone is not None:
                return self._vector(image, self.retriever.dim)
            return self.retriever.embed_image(
                self._vector(image, self.retriever.image_head.in_features)
            )
        return self.retriever.embed_photos([open_photo(image)])  # type: ignore[arg-type]  # no vector

    @torch.inference_mode()
    def _text_query(self, text: str | NDArray[np.floating[Any]]) -> Tensor:
        """Embed a text, or take the embedding of one: (1, D)."""
        if isinstance(text, str):
            return self.retriever.embed_texts([text])
        if self.retriever.backbone is not None:
            return self._vector(text, self.retriever.dim)
        # Of imported embeddings, the heads make what the items are compared by.
        vector = self._vector(text, self.retriever.text_head.in_features)
        return self.retriever.embed_text(vector, torch.ones(1, dtype=torch.bool).to(vector.device))

    def _item_query(self, item: str) -> Tensor:
        """The embedding of an item's photo, (1, D)."""
        try:
            row = self.ids.index(item)
        except ValueError as e:
            raise ConfigError(f"search: item={item} is not in the index") from e
        return self.image[row : row + 1]

    def _vector(self, vector: Any, width: int) -> Tensor:
        made = torch.from_numpy(np.array(vector, dtype=np.float32)).to(self.image.device)
        if made.shape != (width,) or not bool(made.isfinite().all()):
            raise ConfigError(
                f"search: a query embedding has {width} finite numbers; this one is of shape "
                f"{tuple(made.shape)}"
            )
        return torch.nn.functional.normalize(made[None], dim=1)

    @cached_property
    def _product_codes(self) -> NDArray[np.int64]:
        """(N,) the number of each item's product; an item without one is one of its own."""
        number = {name: i for i, name in enumerate(dict.fromkeys(filter(None, self.products)))}
        codes = torch.tensor([UNKNOWN if name is None else number[name] for name in self.products])
        found: NDArray[np.int64] = units_of(codes).numpy()
        return found

    def _units(self, rows: NDArray[np.int64]) -> Tensor:
        """The numbers of the products of rows."""
        return torch.from_numpy(np.unique(self._product_codes[rows], return_inverse=True)[1])

    def _rows(self, where: Mapping[str, str | Sequence[str]]) -> NDArray[np.int64]:
        """The rows that pass the filters."""
        kept = np.ones(len(self.ids), dtype=bool)
        for name, wanted in where.items():
            if name not in self.values:
                raise ConfigError(
                    f"where names '{name}'; the items have {', '.join(sorted(self.values))}"
                )
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            existing = set(self.values[name].tolist())
            for value in values:
                if value not in existing:
                    raise ConfigError(f"where: no item has {name}={value}")
            kept &= np.isin(self.values[name].astype(str), values)
        return np.flatnonzero(kept)

    def _hit(self, row: int, score: float) -> Hit:
        values = {name: str(column[row]) for name, column in self.values.items() if column[row]}
        return Hit(self.ids[row], float(score), self.texts[row], values, row)


_NO_VALUES = ("item_id", "product_id", "split", "text", "role", "photo_hash")
"""Columns of a catalog's table that are not attributes."""


def _embeddings(catalog: Catalog, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
    """The (N, D) image and text embeddings of a catalog, missing texts imputed."""
    image, text = (part.float().to(device) for part in (catalog.image, catalog.text))
    return image, impute_texts(image, text, layout)


def _same_heads(one: Heads, other: Heads) -> bool:
    """Whether two models project features alike, but for the rounding of their files."""

    def parts(heads: Heads) -> list[Tensor | None]:
        pairs = [(heads.image, heads.text), *heads.blocks.values()]
        return [part for pair in pairs for head in pair for part in (head.weight, head.bias)]

    if list(one.blocks) != list(other.blocks):
        return False
    return all(
        (a is None) == (b is None) and (a is None or b is None or _near(a, b))
        for a, b in zip(parts(one), parts(other), strict=True)
    )


def _near(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return torch.allclose(one.detach().cpu().float(), other.detach().cpu().float(), atol=1e-3)


def _value_column(column: Sequence[Any]) -> NDArray[np.object_]:
    """A column as strings, "" for an unknown value."""
    return np.array(
        [
            "" if value in (None, "", "unknown") or value != value else str(value)
            for value in column
        ],
        dtype=object,
    )


def _describe_query(
    text: Any, image: Any, item: str | None, where: Mapping[str, Any] | None
) -> str:
    """Describe a query in words."""
    parts = ["a photo"] if image is not None else []
    parts += [f"item {item}"] if item is not None else []
    parts += [text if isinstance(text, str) else "a text"] if text is not None else []
    filters = [f"{name}: {value}" for name, value in (where or {}).items()]
    return ", ".join([" + ".join(parts), *filters])


def _model_of(catalog: Catalog, cache_dir: Path) -> Retriever:
    """Load the model that a catalog was built with, by its manifest.

    The catalog contains the heads, but not the weights of trained towers.
    """
    encoder = dict(catalog.manifest["encoder"])
    if "embeddings" in encoder:
        return Retriever(*catalog.heads)  # for queries that are embeddings themselves
    learned = encoder.pop("learned", None) is not None
    advice = "give model=fashret.load(<the run folder that it was built from>)"
    towers = "trained" if learned and catalog.has_features else "untrained"
    if catalog.manifest.get("towers", towers) == "trained":  # older manifests do not say it
        raise CatalogError(f"{catalog.folder} was built by a model with trained towers: {advice}")
    weights, name = encoder["weights"], str(encoder["architecture"])
    pretrained = weights if isinstance(weights, str) else None
    spec = ModelSpec(
        name=name,
        pretrained=SHIPPED if isinstance(weights, dict) and ":" not in name else pretrained,
        resize=encoder["resize"],
        fill=255 if encoder["fill"] is None else encoder["fill"],
        decode=encoder["decode"],
        precision=encoder["precision"],
    )
    if spec.identity(cache_dir) != encoder:
        raise CatalogError(f"{catalog.folder} was built by another model than {name}: {advice}")
    return Retriever(*catalog.heads, backbone=load_backbone(spec, cache_dir))
