"""Build a catalog: join a data set with the feature stores, and write its embeddings."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fashret.cache import mark_used
from fashret.catalog import folder as catalog_folder
from fashret.catalog.contents import Contents, FeatureStores, Missing, Part, stores_folder
from fashret.catalog.encode import Encoder
from fashret.catalog.folder import Catalog, open_catalog, verify
from fashret.catalog.growth import Changes, link_files, store_features, switch
from fashret.catalog.write import item_columns, write_catalog
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from fashret.file_lock import file_lock
from fashret.functional.similarity import Vectors
from fashret.models.retriever import Retriever
from fashret.process_sync import Processes, SingleProcess

log = logging.getLogger(__name__)

DTYPES = ("float16", "float32")


def catalog_key(identity: Mapping[str, Any], table: ItemTable, dtype: str) -> str:
    """Return a hash of everything that decides the numbers of a catalog: encoder, data, dtype."""
    value = [catalog_folder.FORMAT, identity, table.key, dtype]
    encoded = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def ensure_catalog(
    table: ItemTable,
    identity: Mapping[str, Any],
    load: Callable[[], Retriever],
    cache_dir: Path,
    *,
    label: str,
    dtype: str = "float32",
    folder: Path | None = None,
    features: Mapping[str, Vectors] | None = None,
    preprocess: object = None,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    processes: Processes | None = None,
) -> Catalog:
    """Open the catalog of a data set and an encoder, or build it first.

    A photo or a text that any catalog of the encoder has had is not encoded again: its features
    are in the feature stores of the cache. Two commands that need the same catalog wait for one
    another. Several processes of one command encode a share each, in the same batches as a single
    process, so that the numbers are the same.

    Args:
        table: the items.
        identity: the identity of the encoder (weights, preprocessing); a part of the key.
        load: loads the encoder; called only if something has to be encoded or built.
        cache_dir: the cache, where the folder is named by label and key.
        label: the name of the encoder in the folder's name.
        dtype: the dtype of the stored arrays, float16 or float32.
        folder: the folder to write instead of one in the cache, with its features in it; None for
            the cache.
        features: (N, F) features of the items by `image` and `text`, of another catalog of the
            same towers, or imported; None to encode them.
        preprocess: the preprocessing of the photos of given features, for the manifest.
        device: the device of the encoder.
        num_workers: worker processes that decode photos.
        processes: the processes that call this together; None for a single process.

    Returns:
        The catalog; a new one is verified.

    Raises:
        CatalogError: `dtype` is not allowed; `folder` holds another catalog or something else;
            features or embeddings contain NaN or Inf; the disk is too small.
    """
    if dtype not in DTYPES:
        raise CatalogError(f"catalog.dtype={dtype}: must be one of {', '.join(DTYPES)}")
    key = catalog_key(identity, table, dtype)
    target = folder or cache_dir / "catalogs" / f"{label}-{table.key}-{key}"
    target.parent.mkdir(parents=True, exist_ok=True)
    processes = processes or SingleProcess()
    first = processes.global_rank == 0
    build = _Build(
        table,
        identity,
        load,
        label,
        dtype,
        key,
        stores_folder(cache_dir, label, identity, dtype),
        features,
        preprocess,
        device,
        num_workers,
        processes,
        with_features=folder is not None and features is None,
    )
    with file_lock(f"{target}.lock", f"the catalog {target.name}") if first else nullcontext():
        existing = open_catalog(target) if first and target.exists() else None
        is_there = processes.broadcast(existing is not None)
        if not first and is_there:
            existing = open_catalog(target)
        processes.barrier()  # all have opened the same state, before the first changes it
        if existing is not None and existing.manifest["key"] == key:
            mark_used(target)
            if first:
                link_files(target, existing.manifest)
            return existing.changed(features=build.joined(existing))
        if existing is not None:
            build.check_same_encoder(existing)
        features = build.joined(existing)
        assert features is not None
        if first and existing is None:
            log.info("building the catalog %s of %d items", target, len(table))
            build.write(target, features)
        elif first and existing is not None:
            build.update(existing, features)
        processes.barrier()
    catalog = open_catalog(target, key=key)
    if first:
        verify(catalog)
    return catalog.changed(features=features)


def encode_part(
    table: ItemTable,
    identity: Mapping[str, Any],
    load: Callable[[], Retriever],
    cache_dir: Path,
    part: Part,
    *,
    label: str,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    num_workers: int = 0,
) -> Missing:
    """Encode and store one part of a data set's photos and texts, and build no catalog.

    Jobs that know nothing of one another share the work: each has a range of hashes, so that none
    encodes what another does. When all are done, `ensure_catalog` encodes what none had.

    Args:
        table: the items.
        identity: the identity of the encoder.
        load: loads the encoder; called only if something has to be encoded.
        cache_dir: the cache, which the jobs share.
        part: the range of hashes.
        label: the name of the encoder.
        dtype: the dtype of the stored features, float16 or float32.
        device: the device of the encoder.
        num_workers: worker processes that decode photos.

    Returns:
        What was encoded.

    Raises:
        CatalogError: features contain NaN or Inf; the disk is too small.
    """
    folder, contents = stores_folder(cache_dir, label, identity, dtype), Contents(table)
    stores = FeatureStores.open(folder)
    if stores is not None and not stores.missing(contents).within(part, contents):
        return Missing.nothing()
    retriever = load().eval().requires_grad_(False).to(device)
    stores = FeatureStores.create(folder, retriever, dtype, identity)
    missing = stores.missing(contents).within(part, contents)
    mark_used(folder)
    Encoder(retriever=retriever, device=device, num_workers=num_workers).encode_table(
        contents, stores, missing
    )
    return missing


@dataclass(frozen=True)
class _Build:
    """What a catalog is built from; see `ensure_catalog`."""

    table: ItemTable
    identity: Mapping[str, Any]
    load: Callable[[], Retriever]
    label: str
    dtype: str
    key: str
    stores: Path
    features: Mapping[str, Vectors] | None
    preprocess: object
    device: torch.device | str
    num_workers: int
    processes: Processes
    with_features: bool

    @cached_property
    def retriever(self) -> Retriever:
        """The encoder in evaluation mode, loaded when it is first needed."""
        return self.load().eval().requires_grad_(False).to(self.device)

    def joined(self, existing: Catalog | None) -> Mapping[str, Vectors] | None:
        """Return the features of the table, encoded where they are not stored.

        Args:
            existing: the catalog that is there, of this key or of the state before an update.

        Returns:
            The features by `image` and `text`; None if the existing catalog of this key stores
            them itself.
        """
        if self.features is not None:
            return self.features
        is_current = existing is not None and existing.manifest["key"] == self.key
        if existing is not None and is_current and existing.has_features:
            return None
        first, contents = self.processes.global_rank == 0, Contents(self.table)
        if first and FeatureStores.open(self.stores) is None:
            FeatureStores.create(self.stores, self.retriever, self.dtype, self.identity)
        self.processes.barrier()
        missing = None
        if first:
            stores = self._opened()
            missing = stores.missing(contents)
            if missing and existing is not None and existing.has_features:
                verify(existing)  # before its features are everybody's
                store_features(existing, stores)
                missing = stores.missing(contents)
        mark_used(self.stores)
        missing = self.processes.broadcast(missing)
        assert missing is not None
        if missing:
            Encoder(
                retriever=self.retriever,
                device=self.device,
                num_workers=self.num_workers,
                processes=self.processes,
            ).encode_table(contents, self._opened(), missing)
            self.processes.barrier()
        return self._opened().join(contents)

    def _opened(self) -> FeatureStores:
        """The stores, as they are now."""
        stores = FeatureStores.open(self.stores)
        if stores is None:
            raise CatalogError(f"{self.stores} was removed while it is used: start again")
        return stores

    def write(self, target: Path, features: Mapping[str, Vectors]) -> dict[str, Any]:
        """Write a new folder, and return its manifest."""
        backbone = self.retriever.backbone
        trained = self.features is None and "learned" in self.identity
        manifest = {
            "format": catalog_folder.FORMAT,
            "key": self.key,
            "count": len(self.table),
            "dtype": self.dtype,
            "model": self.label,
            "encoder": self.identity,
            "towers": "trained" if trained else "untrained",
            "data": self.table.key,
            "splits": {split: len(self.table.rows(split)) for split in self.table.splits},
            "preprocess": self.preprocess if backbone is None else vars(backbone.preprocess),
        }
        return write_catalog(
            target,
            self.retriever,
            self.table,
            features,
            manifest,
            with_features=self.with_features,
        )

    def update(self, catalog: Catalog, features: Mapping[str, Vectors]) -> None:
        """Write the next version of a folder beside the current one, and switch to it."""
        version = catalog.version + 1
        changes = Changes.between(catalog.meta(), item_columns(self.table).to_pandas())
        if not changes.kept:
            raise CatalogError(
                f"{catalog.folder} holds a catalog of other items ({catalog.manifest['data']}): "
                f"none of its ids is in {self.table.key}; choose another catalog.dir"
            )
        log.info("updating the catalog %s: %s", catalog.folder, changes)
        target = catalog.folder / f"version-{version}"
        if target.exists():  # of an update that was killed before it switched
            shutil.rmtree(target)
        switch(catalog.folder, version, changes, self.write(target, features))

    def check_same_encoder(self, catalog: Catalog) -> None:
        """Raise CatalogError if a catalog that is to be updated is of another encoder or dtype."""
        manifest = catalog.manifest
        if "embeddings" in self.identity and "embeddings" in manifest["encoder"]:
            return  # every export has a hash of its own, and replaces all vectors
        if json.loads(json.dumps(self.identity, default=str)) != manifest["encoder"]:
            raise CatalogError(
                f"{catalog.folder} holds a catalog of {manifest['model']} with other weights or "
                "preprocessing, whose embeddings cannot be mixed: choose another catalog.dir"
            )
        if manifest["dtype"] != self.dtype:
            raise CatalogError(
                f"{catalog.folder} holds {manifest['dtype']}: give "
                f"catalog.dtype={manifest['dtype']}, or choose another catalog.dir"
            )
