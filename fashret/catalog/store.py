"""The catalog folder: its files, opening it, and verifying it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from fashret.errors import CatalogError
from fashret.functional.blocks import Layout
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
    """

    folder: Path
    manifest: Mapping[str, Any]

    def __len__(self) -> int:
        return int(self.manifest["count"])

    @cached_property
    def image(self) -> Tensor:
        """(N, D) image embeddings, L2-normalised."""
        return _mapped(self.folder / EMBEDDINGS["image"])

    @cached_property
    def text(self) -> Tensor:
        """(N, D) text embeddings, L2-normalised; zero where an item has no text."""
        return _mapped(self.folder / EMBEDDINGS["text"])

    @cached_property
    def image_features(self) -> Tensor:
        """(N, F) output of the image tower, the input of the image heads."""
        return _mapped(self.folder / FEATURES["image"])

    @cached_property
    def text_features(self) -> Tensor:
        """(N, G) output of the text tower, the input of the text heads."""
        return _mapped(self.folder / FEATURES["text"])

    @cached_property
    def heads(self) -> Heads:
        """The projections from features to embeddings: the general and the attribute heads."""
        tensors = load_file(self.folder / HEADS)

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
        return pq.read_table(self.folder / META).to_pandas()


def open_catalog(folder: Path, *, key: str | None = None) -> Catalog:
    """Open a catalog, and check that it is complete and has the expected key.

    Args:
        folder: the folder of the catalog.
        key: the expected key (`catalog_key`); None accepts any.

    Raises:
        CatalogError: there is no catalog, a file is missing or has another size, or the key
            differs.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise CatalogError(f"{folder} is not a catalog: {path.name} cannot be read ({e})") from e
    if manifest.get("format") != FORMAT:
        raise CatalogError(
            f"{folder} is a catalog of format {manifest.get('format')}, but this version "
            f"reads format {FORMAT}: build it again with build_catalog.py"
        )
    if key is not None and manifest["key"] != key:
        raise CatalogError(
            f"{folder} holds a catalog of {manifest['model']} over {manifest['data']} with another "
            "key: choose another catalog.dir"
        )
    for name, file in manifest["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != file["bytes"]:
            raise CatalogError(
                f"{folder / name} has {size or 'no'} bytes, its manifest says {file['bytes']}: "
                "delete the folder and build it again with build_catalog.py"
            )
    return Catalog(folder, manifest)


def verify(catalog: Catalog) -> None:
    """Verify the checksum of every file, and that every embedding is finite.

    Raises:
        CatalogError: a file was changed since it was written; embeddings contain NaN or Inf.
    """
    for name, file in catalog.manifest["files"].items():
        if checksum(catalog.folder / name) != file["sha256"]:
            raise CatalogError(
                f"{catalog.folder / name} differs from its checksum: delete the folder and build "
                "it again with build_catalog.py"
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
