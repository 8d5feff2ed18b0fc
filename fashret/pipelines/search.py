"""Search a catalog by text, photo or both, and draw what typed texts find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.cache import default_cache_dir
from fashret.catalog.store import FEATURES, Catalog, check_embeddings, open_catalog
from fashret.errors import CatalogError, ConfigError
from fashret.functional.blocks import Layout
from fashret.functional.imputation import impute_texts
from fashret.functional.similarity import Fused, Vectors
from fashret.functional.topk import topk
from fashret.models.backbone import load_backbone
from fashret.models.device import pick_device
from fashret.models.retriever import Photo, Retriever, open_photo
from fashret.models.spec import SHIPPED, ModelSpec
from fashret.pipelines.systems import System
from fashret.reports.contact_sheet import jpeg, photo_rows, thumbnail
from fashret.reports.web import data_uri, render

_SHOWN = 8
_SIDE = 120
"""Pixels of a photo's longer side in a notebook."""


@dataclass(frozen=True)
class Hit:
    """One item that was found.

    Attributes:
        item_id: of the item.
        score: inner product with the query; photos and texts alone give a cosine.
        text: the item's own.
        values: its category and attributes, where known.
        row: of the catalog.
    """

    item_id: str
    score: float
    text: str
    values: Mapping[str, str]
    row: int


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """What a search found, best first; a sequence of hits that shows itself in a notebook.

    Attributes:
        query: what was asked, in words.
        hits: the items.
    """

    query: str
    hits: Sequence[Hit]
    photo: Callable[[int], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def ids(self) -> list[str]:
        """The ids of the items."""
        return [hit.item_id for hit in self.hits]

    @property
    def scores(self) -> list[float]:
        """Their scores, falling."""
        return [hit.score for hit in self.hits]

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def _repr_html_(self) -> str:
        """Photos with their scores."""
        photos = [
            None if self.photo is None else data_uri(thumbnail(self.photo(hit.row), _SIDE))
            for hit in self.hits
        ]
        return render("hits.html", query=self.query, hits=list(zip(self.hits, photos, strict=True)))


@dataclass(frozen=True)
class Index:
    """Items that can be searched.

    Attributes:
        retriever: embeds what is asked.
        image: (N, D) embeddings of the items' photos.
        text: (N, D) embeddings of their texts, imputed where an item has none.
        ids: item ids.
        texts: of the items, "" where there is none.
        values: (N,) values by category and attribute, "" where not known.
        photo: the encoded photo of a row; None where the index has no photos.
    """

    retriever: Retriever
    image: Tensor
    text: Tensor
    ids: Sequence[str]
    texts: Sequence[str]
    values: Mapping[str, NDArray[np.object_]]
    photo: Callable[[int], bytes] | None = None

    @classmethod
    def from_system(cls, system: System) -> "Index":
        """Index all items of a trained or evaluated system's data set."""
        table, stored = system.session.table, system.embeddings
        values = {name: _values(table.column(name)) for name in table.categorical_columns}
        image, text = _embeddings(stored, system.towers.layout, system.session.device)
        ids, texts = table.column("item_id"), [said or "" for said in table.column("text")]
        return cls(system.towers, image, text, ids, texts, values, table.photo)

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
            folder: of the catalog.
            model: embeds what is asked; None loads the model that the catalog was made with.
            device: where the loaded model computes.
            cache_dir: where its weights are kept.

        Raises:
            CatalogError: there is no whole catalog; its embeddings contain NaN or Inf; its model
                cannot be loaded again, or `model` is another.
        """
        catalog = open_catalog(folder)
        check_embeddings(catalog)
        if model is None:
            model = _model_of(catalog, cache_dir or default_cache_dir())
            model = model.eval().requires_grad_(False).to(pick_device(device))
        if model.dim != catalog.manifest["dim"]:
            raise CatalogError(
                f"{folder} has embeddings of {catalog.manifest['dim']} dimensions, the model "
                f"of {model.dim}: give the model that the catalog was made with"
            )
        meta = catalog.meta()
        named = [name for name in meta.columns if name not in _NO_VALUES]
        image, text = _embeddings(catalog, model.layout, model.device)
        return cls(
            model,
            image,
            text,
            meta["item_id"].tolist(),
            meta["text"].fillna("").tolist(),
            {name: _values(meta[name].fillna("").tolist()) for name in named},
        )

    def search(
        self,
        *,
        text: str | None = None,
        image: Photo | None = None,
        k: int = 10,
        where: Mapping[str, str | Sequence[str]] | None = None,
        weight_image: float = 0.7,
        weights: Mapping[str, float] | None = None,
    ) -> SearchResult:
        """Find the best items; see `fashret.search`."""
        if text is None and image is None:
            raise ConfigError("search needs text=, image=, or both")
        if k < 1:
            raise ConfigError(f"search: k={k} must be at least 1")
        rows = self._rows(where or {})
        if not len(rows):
            return SearchResult(_said(text, image, where), [], self.photo)
        layout, asked = self.retriever.layout, []
        if image is not None:
            asked.append(self.retriever.embed_photos([open_photo(image)]))
        if text is not None:
            asked.append(self.retriever.embed_texts([text]))
        asked = [layout.weighted(part, weights or {}) for part in asked]
        here = torch.from_numpy(rows).to(self.image.device)
        queries: Vectors = asked[0]
        items: Vectors = self.image[here]
        if len(asked) == 2:
            queries = Fused(asked[0], asked[1], weight_image)
            items = Fused(self.image[here], self.text[here], weight_image)
        found = topk(queries, items, min(k, len(rows)))
        pairs = zip(found.rows[0].tolist(), found.scores[0].tolist(), strict=True)
        hits = [self._hit(int(rows[place]), score) for place, score in pairs]
        return SearchResult(_said(text, image, where), hits, self.photo)

    def _rows(self, where: Mapping[str, str | Sequence[str]]) -> NDArray[np.int64]:
        """The rows that filters leave."""
        kept = np.ones(len(self.ids), dtype=bool)
        for name, wanted in where.items():
            if name not in self.values:
                raise ConfigError(
                    f"where names {name}; the items have {', '.join(sorted(self.values))}"
                )
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            known = set(self.values[name].tolist())
            for value in values:
                if value not in known:
                    raise ConfigError(f"where: no item has {name}={value}")
            kept &= np.isin(self.values[name].astype(str), values)
        return np.flatnonzero(kept)

    def _hit(self, row: int, score: float) -> Hit:
        values = {name: str(column[row]) for name, column in self.values.items() if column[row]}
        return Hit(self.ids[row], float(score), self.texts[row], values, row)


_NO_VALUES = ("item_id", "product_id", "split", "text", "role")
"""Columns of a catalog's table that are no values."""


def draw_queries(system: System, queries: Sequence[str], rows: NDArray[np.int64]) -> Path:
    """Write `queries.jpg`: the best photos for each typed query.

    Args:
        system: a model, which embeds the queries.
        queries: what is typed.
        rows: of the item table, ascending: the photos that are searched.

    Returns:
        the picture's path.
    """
    session, towers = system.session, system.towers
    weights = session.options.retrieval.weights or {}
    texts = towers.layout.weighted(towers.embed_texts(queries), weights)
    found = topk(texts, system.embedded(rows).image, min(_SHOWN, len(rows)))
    titles = session.table.column("text")
    drawn = []
    for query, ranked, scores in zip(queries, found.rows, found.scores, strict=True):
        items = [int(row) for row in rows[ranked.cpu().numpy()]]
        photos = [
            (session.table.photo(row), f"{score:.2f} {titles[row]}")
            for row, score in zip(items, scores.tolist(), strict=True)
        ]
        drawn.append((query, photos))
    session.output_dir.mkdir(parents=True, exist_ok=True)
    path = session.output_dir / "queries.jpg"
    path.write_bytes(jpeg(photo_rows(drawn)))
    return path


def _embeddings(catalog: Catalog, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor]:
    """The (N, D) embeddings of a catalog, texts imputed."""
    image, text = (part.float().to(device) for part in (catalog.image, catalog.text))
    return image, impute_texts(image, text, layout)


def _values(column: Sequence[Any]) -> NDArray[np.object_]:
    """A column, with "" where a value is not known."""
    return np.array(
        [
            "" if value in (None, "", "unknown") or value != value else str(value)
            for value in column
        ],
        dtype=object,
    )


def _said(text: str | None, image: Photo | None, where: Mapping[str, Any] | None) -> str:
    """A query in words."""
    parts = ["a photo"] if image is not None else []
    parts += [text] if text is not None else []
    filters = [f"{name}: {value}" for name, value in (where or {}).items()]
    return ", ".join([" + ".join(parts), *filters])


def _model_of(catalog: Catalog, cache_dir: Path) -> Retriever:
    """The model that a catalog was made with, by what its manifest says of it.

    Heads stand in the catalog; towers that learned do not.
    """
    encoder = dict(catalog.manifest["encoder"])
    learned = encoder.pop("learned", None) is not None
    advice = "give model=fashret.load(<the run folder that it was made from>)"
    if learned and (catalog.folder / FEATURES["image"]).is_file():
        raise CatalogError(f"{catalog.folder} was made by towers that learned: {advice}")
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
        raise CatalogError(f"{catalog.folder} was made by another model than {name}: {advice}")
    return Retriever(*catalog.heads, backbone=load_backbone(spec, cache_dir))
