"""A catalog in Milvus: the embedded Milvus Lite in a file, or a server by the same client.

Each version of a catalog is a collection of its own; an alias names the current one and is switched
when the new one is whole. Attributes are fields that a search can filter by; photo, text and the
block of each attribute are vectors of their own.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.catalog.folder import Catalog
from fashret.errors import CatalogError, ConfigError
from fashret.functional.blocks import Layout
from fashret.progress import progress

LOCAL = "milvus.db"
"""The file of Milvus Lite in a catalog's folder."""

_SENT = 1000
"""Items sent at a time."""

_MAX_TEXT = 8192
_MAX_ID = 512

_HNSW = {"M": 32, "efConstruction": 200}
_EF_SEARCH = 128

_NO_FIELDS = ("item_id", "split", "text", "role", "photo_hash")
"""Columns of a catalog's table that are no filters."""


@dataclass(frozen=True)
class MilvusHit:
    """An item that Milvus found.

    Attributes:
        item_id: its id.
        score: the inner product with the query.
        row: its row in the catalog.
        fields: its product, category, attributes and text.
    """

    item_id: str
    score: float
    row: int
    fields: Mapping[str, str]


class MilvusCatalog:
    """A catalog in Milvus under an alias.

    Attributes:
        oversample: candidates that are worth an exact score for each hit.

    Args:
        uri: the path of a file for Milvus Lite, or the address of a server.
        name: the alias of the catalog.
        token: user and password, or key, of a server.

    Raises:
        ConfigError: pymilvus is not installed.
        CatalogError: the server does not answer.
    """

    oversample = 10

    def __init__(self, uri: str, name: str, *, token: str = "") -> None:
        try:
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as e:
            raise ConfigError(
                "catalog.index=milvus needs another package (pymilvus): "
                'pip install "fashret[milvus]"'
            ) from e
        self.uri, self.alias, self._loaded = uri, identifier(name), False
        if "://" not in uri:
            logging.getLogger("grpc._server").addFilter(_is_news)
            Path(uri).expanduser().parent.mkdir(parents=True, exist_ok=True)
            uri = str(Path(uri).expanduser())
        try:
            self.client: Any = MilvusClient(uri, token=token)
        except MilvusException as e:
            raise CatalogError(
                f"catalog.uri={self.uri}: Milvus does not answer ({e}); a file of Milvus Lite "
                "serves one process at a time, a server many: catalog.uri=http://<host>:19530"
            ) from e

    def push(self, catalog: Catalog) -> str:
        """Write a catalog as a new collection, switch the alias to it, and drop the one before.

        Args:
            catalog: the catalog; its embeddings are written, not its features.

        Returns:
            The name of the new collection.

        Raises:
            CatalogError: the alias is that of another folder.
        """
        before, owner = self.current(), self._owner(catalog)
        if before is not None and before.rpartition("_")[0] != f"{self.alias}_{owner}":
            raise CatalogError(
                f"{self.uri} has a catalog '{self.alias}' of another folder: give the folder "
                "another name, or another catalog.uri"
            )
        number = 1 if before is None else int(before.rpartition("_")[2]) + 1
        name = f"{self.alias}_{owner}_{number}"
        if self.client.has_collection(name):  # of a push that was killed before it switched
            self.client.drop_collection(name)
        self._create(name, catalog)
        self._send(name, catalog, np.arange(len(catalog)))
        if before is None:
            self.client.create_alias(name, self.alias)
        else:
            self.client.alter_alias(name, self.alias)
            self.client.drop_collection(before)
        return name

    def upsert(self, catalog: Catalog, item_ids: Sequence[str]) -> int:
        """Add or replace single items in the current collection.

        Args:
            catalog: a catalog of the same encoder that has the items.
            item_ids: their ids.

        Returns:
            The number of items.

        Raises:
            CatalogError: the catalog lacks one of them, or nothing was pushed.
        """
        position = {item: row for row, item in enumerate(catalog.meta()["item_id"])}
        if missing := [item for item in item_ids if item not in position]:
            raise CatalogError(f"{catalog.folder} has no item {', '.join(missing[:5])}")
        rows = np.array([position[item] for item in item_ids], dtype=np.int64)
        self._send(self._required(), catalog, rows)
        return len(rows)

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove items from the current collection; unknown ids are ignored."""
        self.client.delete(self._required(), ids=list(item_ids))

    def __len__(self) -> int:
        stats = self.client.get_collection_stats(self._required())
        return int(stats["row_count"])

    def current(self) -> str | None:
        """Return the collection that the alias names; None if nothing was pushed."""
        for name in self.client.list_collections():
            if self.alias in self.client.list_aliases(name)["aliases"]:
                return str(name)
        return None

    def search(
        self,
        query: NDArray[np.floating[Any]],
        k: int = 10,
        *,
        where: Mapping[str, str | Sequence[str]] | None = None,
        by: str = "item",
        field: str = "photo",
    ) -> list[MilvusHit]:
        """Search the current collection.

        Args:
            query: (D,) a query embedding; scaled by `Layout.weighted` for weights of blocks.
            k: the number of hits, at least 1.
            where: filters by category or attribute, as in `fashret.search`.
            by: item, or product for the best photo of each.
            field: the vectors that are searched: photo, text_vector, or photo_<attribute>.

        Returns:
            The hits, best first.

        Raises:
            ConfigError: a filter names no field.
        """
        grouped = {"group_by_field": "product_id"} if by == "product" else {}
        found = self.client.search(
            self._required(),
            data=[np.asarray(query, dtype=np.float32).tolist()],
            anns_field=field,
            limit=k,
            filter=self._filter(where or {}),
            output_fields=["*"],
            search_params={"metric_type": "IP", "params": {"ef": max(_EF_SEARCH, k)}},
            **grouped,
        )[0]
        return [self._hit(each) for each in found]

    def candidates(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Propose rows of the catalog for (Q, D) queries: (Q, count) rows, -1 for none."""
        count = min(count, len(self), 16_384)  # the most that Milvus returns
        found = self.client.search(
            self._required(),
            data=queries.tolist(),
            anns_field="photo",
            limit=count,
            output_fields=["row"],
            search_params={"metric_type": "IP", "params": {"ef": max(_EF_SEARCH, count)}},
        )
        rows = np.full((len(queries), count), -1, dtype=np.int64)
        for number, hits in enumerate(found):
            rows[number, : len(hits)] = [hit["entity"]["row"] for hit in hits]
        return rows

    def close(self) -> None:
        """Close the connection, and the file of Milvus Lite."""
        self.client.close()

    def _create(self, name: str, catalog: Catalog) -> None:
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("item_id", DataType.VARCHAR, is_primary=True, max_length=_MAX_ID)
        schema.add_field("row", DataType.INT64)
        schema.add_field("text", DataType.VARCHAR, max_length=_MAX_TEXT)
        for field in _fields(catalog):
            schema.add_field(identifier(field), DataType.VARCHAR, max_length=_MAX_ID)
        index = self.client.prepare_index_params()
        for field, width in _vectors(catalog.layout).items():
            schema.add_field(field, DataType.FLOAT_VECTOR, dim=width)
            index.add_index(field_name=field, index_type="HNSW", metric_type="IP", params=_HNSW)
        self.client.create_collection(name, schema=schema, index_params=index)

    def _send(self, name: str, catalog: Catalog, rows: NDArray[np.int64]) -> None:
        """Write rows of a catalog."""
        meta, layout = catalog.meta().fillna(""), catalog.layout
        columns = {name: meta[name].astype(str).to_numpy() for name in meta.columns}
        fields = _fields(catalog)
        for start in progress(
            range(0, len(rows), _SENT), desc=f"writing {self.alias}", disable=len(rows) <= _SENT
        ):
            part = rows[start : start + _SENT]
            chosen = torch.from_numpy(part)
            vectors = _split(layout, catalog.image[chosen], catalog.text[chosen])
            sent = []
            for i, row in enumerate(part.tolist()):
                item = columns["item_id"][row]
                entity: dict[str, Any] = {"item_id": item, "row": row}
                entity["text"] = _cut(columns["text"][row], _MAX_TEXT)
                for field in fields:
                    entity[identifier(field)] = _cut(columns[field][row], _MAX_ID)
                # An item without a product is one of its own.
                entity["product_id"] = entity["product_id"] or f"item {item}"
                entity |= {key: vector[i].tolist() for key, vector in vectors.items()}
                sent.append(entity)
            self.client.upsert(name, sent)

    def _filter(self, where: Mapping[str, str | Sequence[str]]) -> str:
        described = self.client.describe_collection(self._required())
        known = {field["name"] for field in described["fields"]}
        parts = []
        for name, wanted in where.items():
            if identifier(name) not in known:
                raise ConfigError(f"where names '{name}'; Milvus has {', '.join(sorted(known))}")
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            parts.append(f"{identifier(name)} in {json.dumps(values, ensure_ascii=False)}")
        return " and ".join(parts)

    def _owner(self, catalog: Catalog) -> str:
        """What collections of a folder have in their names, so that two do not replace each other.

        A file in the folder itself is of no other one, wherever the folder is moved.
        """
        folder = catalog.folder.absolute()
        if "://" not in self.uri and Path(self.uri).expanduser().absolute().parent == folder:
            return "own"
        return hashlib.blake2b(str(folder).encode(), digest_size=4).hexdigest()

    def _required(self) -> str:
        """The alias, once its collection is there and in memory."""
        if not self._loaded:
            if self.current() is None:
                raise CatalogError(f"{self.uri} has no catalog '{self.alias}': push one first")
            self.client.load_collection(self.alias)
            self._loaded = True
        return self.alias

    def _hit(self, found: Mapping[str, Any]) -> MilvusHit:
        entity = dict(found["entity"])
        item, row = str(entity.pop("item_id")), int(entity.pop("row"))
        fields = {name: str(value) for name, value in entity.items() if isinstance(value, str)}
        return MilvusHit(item, float(found["distance"]), row, fields)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out that Milvus Lite lacks a method of the server, for which its client has another."""
    return "Method not implemented" not in record.getMessage()


def identifier(name: str) -> str:
    """Return a name as Milvus allows it for a field, a collection or an alias.

    Blanks and hyphens become underscores; a name with other characters gets a hash, so that two
    names do not become one.
    """
    found = re.sub(r"[ \-]", "_", name)
    if re.search(r"\W", found, flags=re.ASCII):
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        found = f"{re.sub(r'[^A-Za-z0-9_]', '_', found)}_{digest}"
    return found if re.match(r"[A-Za-z_]", found) else f"_{found}"


def _fields(catalog: Catalog) -> list[str]:
    """The columns of a catalog's table that become fields to filter by."""
    return [name for name in catalog.meta().columns if name not in _NO_FIELDS]


def _vectors(layout: Layout) -> dict[str, int]:
    """The vectors of an item and their dimensions."""
    widths = {"photo": layout.dim, "text_vector": layout.dim}
    for name in layout.attributes:
        start, end = layout.columns[name]
        widths[identifier(f"photo_{name}")] = end - start
    return widths


def _split(layout: Layout, image: torch.Tensor, text: torch.Tensor) -> dict[str, torch.Tensor]:
    """The vectors of items by name: whole embeddings, and the block of each attribute."""
    vectors = {"photo": image.float(), "text_vector": text.float()}
    for name in layout.attributes:
        vectors[identifier(f"photo_{name}")] = layout.block(image.float(), name)
    return vectors


def _cut(text: str, most: int) -> str:
    """A text of at most so many bytes in UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")
