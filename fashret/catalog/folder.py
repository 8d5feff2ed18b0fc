"""The catalog folder: its files, opening it, and verifying it."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from fashret.catalog_files import files_folder
from fashret.errors import CatalogError
from fashret.functional.blocks import Layout
from fashret.functional.similarity import Vectors
from fashret.models.heads import Heads, Projection

FORMAT = 2
MANIFEST = "manifest.json"
META = "catalog_meta.parquet"
HEADS = "heads.safetensors"
EMBEDDINGS = {"image": "catalog_img.npy", "text": "catalog_txt.npy"}
FEATURES = {"image": "features_img.npy", "text": "features_txt.npy"}

_CHECKED = 16_384
"""Rows checked at a time."""

NAMED = 5
"""The maximum number of items that a message names."""


@dataclass(frozen=True)
class Catalog:
    """A catalog on disk: the embeddings of all items; arrays are memory-mapped on first use.

    Row i of every array and of the meta table is row i of the item table.

    Attributes:
        folder: the folder of the catalog.
        manifest: the parsed manifest.json: counts, keys, versions, checksums.
        features: the towers' features by `image` and `text`, joined with the feature store; None
            for a catalog with arrays of its own.
    """

    folder: Path
    manifest: Mapping[str, Any]
    features: Mapping[str, Vectors] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.manifest["count"])

    @property
    def files(self) -> Path:
        """The folder of the files: the catalog's, or that of its current version in it."""
        return files_folder(self.folder, self.manifest)

    @property
    def version(self) -> int:
        """The number of the catalog's state, from 1: every update adds one."""
        return int(self.manifest.get("version", 1))

    @cached_property
    def image(self) -> Tensor:
        """(N, D) image embeddings, L2-normalised."""
        return _mapped(self.files / EMBEDDINGS["image"])

    @cached_property
    def text(self) -> Tensor:
        """(N, D) text embeddings, L2-normalised; zero where an item has no text."""
        return _mapped(self.files / EMBEDDINGS["text"])

    @cached_property
    def image_features(self) -> Vectors:
        """(N, F) output of the image tower, the input of the image heads."""
        return self._features("image")

    @cached_property
    def text_features(self) -> Vectors:
        """(N, G) output of the text tower, the input of the text heads; zero without a text."""
        return self._features("text")

    @property
    def has_features(self) -> bool:
        """Whether the catalog stores the features of the towers itself."""
        return (self.files / FEATURES["image"]).is_file()

    def _features(self, kind: str) -> Vectors:
        if self.features is not None:
            return self.features[kind]
        return _mapped(self.files / FEATURES[kind])

    @cached_property
    def heads(self) -> Heads:
        """The projections from features to embeddings: the general and the attribute heads."""
        tensors = load_file(self.files / HEADS)

        def stored(name: str) -> Projection:
            return Projection(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))

        blocks = {
            name: (stored(f"{name}.image"), stored(f"{name}.text"))
            for name in self.layout.attributes
        }
        return Heads(stored("image"), stored("text"), blocks)

    @property
    def layout(self) -> Layout:
        """The columns of the general embedding and of each attribute head."""
        return Layout(
            {name: (start, end) for name, (start, end) in self.manifest["blocks"].items()}
        )

    def meta(self) -> Any:
        """Read the item table as pandas: item_id, product_id, split, category, attributes, text."""
        return pq.read_table(self._meta_file).to_pandas()

    @cached_property
    def _meta_file(self) -> pa.MemoryMappedFile:
        return pa.memory_map(str(self.files / META))

    def changed(self, **fields: Any) -> "Catalog":
        """Copy the catalog with other fields; the files that are open stay so."""
        made = replace(self, **fields)
        opened = ("image", "text", "heads", "_meta_file")
        vars(made).update({name: vars(self)[name] for name in opened if name in vars(self)})
        return made

    def open_files(self) -> None:
        """Open the files: a later update of the folder does not change them."""
        _ = self.image, self.text, self.heads, self._meta_file
        if self.features is None and self.has_features:
            _ = self.image_features, self.text_features


def open_catalog(folder: Path, *, key: str | None = None) -> Catalog:
    """Open a catalog, and check that it is complete and has the expected key.

    While another process updates the folder, the catalog is its state before or after, never a
    mixture: the manifest is read again after the files were opened.

    Args:
        folder: the folder of the catalog.
        key: the expected key (`catalog_key`); None accepts any.

    Raises:
        CatalogError: there is no catalog, a file is missing or has another size, or the key
            differs.
    """
    while True:
        manifest = read_manifest(folder)
        if key is not None and manifest["key"] != key:
            raise CatalogError(
                f"{folder} holds a catalog of {manifest['model']} over {manifest['data']} with "
                "another key: choose another catalog.dir"
            )
        catalog = Catalog(folder, manifest)
        try:
            _check_sizes(catalog)
            catalog.open_files()
        except (OSError, ValueError, CatalogError) as e:
            if read_manifest(folder) == manifest:
                if isinstance(e, CatalogError):
                    raise
                raise CatalogError(f"{catalog.files} cannot be read: {e}") from e
            continue  # it was updated meanwhile
        if read_manifest(folder) == manifest:
            return catalog


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a catalog's manifest.json.

    Raises:
        CatalogError: it cannot be read, or is of a format that this version does not know.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise CatalogError(f"{folder} is not a catalog: {path.name} cannot be read ({e})") from e
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise CatalogError(
            f"{folder} is a catalog of format {found}, but this version "
            f"reads format {FORMAT}: build it again with build_catalog.py"
        )
    names = manifest["files"]
    if any(Path(name).name != name for name in names):
        raise CatalogError(f"{path}: a file of a catalog is in its folder, not elsewhere: {names}")
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace a catalog's manifest.json at once; the caller holds the lock of the folder."""
    draft = folder / f"{MANIFEST}.{os.getpid()}"
    draft.write_text(json.dumps(manifest, indent=2, default=str))
    draft.replace(folder / MANIFEST)


def _check_sizes(catalog: Catalog) -> None:
    for name, file in catalog.manifest["files"].items():
        path = catalog.files / name
        size = path.stat().st_size if path.is_file() else None
        if size != file["bytes"]:
            raise CatalogError(
                f"{path} has {size or 'no'} bytes, its manifest says {file['bytes']}: "
                "delete the folder and build it again with build_catalog.py"
            )


def verify(catalog: Catalog) -> None:
    """Verify the checksum of every file, and that every embedding is finite.

    Raises:
        CatalogError: a file was changed since it was written; embeddings contain NaN or Inf.
    """
    for name, file in catalog.manifest["files"].items():
        if checksum(catalog.files / name) != file["sha256"]:
            raise CatalogError(
                f"{catalog.files / name} differs from its checksum: delete the folder and build "
                "it again with build_catalog.py"
            )
    index = catalog.manifest.get("index") or {}
    path = catalog.files / f"index-{index.get('kind')}.faiss"
    if path.is_file() and checksum(path) != index.get("sha256"):
        raise CatalogError(
            f"{path} differs from its checksum: build it again with "
            f"build_catalog.py catalog.index={index.get('kind')}"
        )
    check_embeddings(catalog)


def check_embeddings(catalog: Catalog) -> None:
    """Verify that every embedding is finite: NaN and Inf would come first in every ranking.

    Raises:
        CatalogError: embeddings contain NaN or Inf; the message names the first items.
    """
    for kind, embeddings in (("image", catalog.image), ("text", catalog.text)):
        check_finite(
            embeddings.numpy(),
            lambda: catalog.meta()["item_id"].tolist(),
            f"{catalog.folder}: {kind} embeddings",
        )


def check_finite(
    embeddings: NDArray[np.floating[Any]], item_ids: Callable[[], Sequence[str]], what: str
) -> None:
    """Verify that every row of an array of embeddings is finite.

    Args:
        embeddings: (N, D), in memory or memory-mapped.
        item_ids: returns the item id of each row, for the message.
        what: the description of the embeddings, for the message.

    Raises:
        CatalogError: rows contain NaN or Inf; the message has their number and the first items.
    """
    bad: list[int] = []
    for start in range(0, len(embeddings), _CHECKED):
        finite = np.isfinite(embeddings[start : start + _CHECKED]).all(axis=1)
        bad += (start + np.flatnonzero(~finite)).tolist()
    if bad:
        ids = item_ids()
        named = ", ".join(f"{ids[row]} (row {row})" for row in bad[:NAMED])
        raise CatalogError(
            f"{what} contain NaN or Inf: {len(bad)} of {len(embeddings)} items, {named}"
            f"{', ...' if len(bad) > NAMED else ''}; check the weights that made them, delete the "
            "folder and build it again with build_catalog.py"
        )


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mapped(path: Path) -> Tensor:
    """Memory-map a stored array as a tensor; read-only by convention, never unpickled."""
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
