"""The contents of a table by their hashes, and the feature stores that they are joined with."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fashret.catalog.feature_store import (
    DIGEST_BYTES,
    FORMAT,
    Digests,
    FeatureStore,
    StoredFeatures,
    content_digests,
)
from fashret.data.items import ItemTable
from fashret.errors import CatalogError, ConfigError
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN


def stores_folder(cache_dir: Path, label: str, towers: Mapping[str, Any], dtype: str) -> Path:
    """Return the folder of the feature stores of a model's towers in the cache.

    Args:
        cache_dir: the cache.
        label: the name of the model.
        towers: the identity of the towers: everything that decides a feature.
        dtype: the dtype of the stored features.
    """
    encoded = json.dumps([FORMAT, towers, dtype], sort_keys=True).encode()
    key = hashlib.blake2b(encoded, digest_size=8).hexdigest()
    return cache_dir / "features" / f"{label}-{key}"


class Contents:
    """The photos and texts of a table by the hashes of their content.

    Args:
        table: the items.
    """

    def __init__(self, table: ItemTable) -> None:
        self.table = table
        self.caption_codes, self.captions = table.text_codes()

    @cached_property
    def photos(self) -> Digests:
        """(N,) hash of each row's photo."""
        rows = self.table.dataset.data
        if "photo_hash" not in rows.column_names:
            photos = (self.table.photo(row) for row in range(len(self.table)))
            return content_digests(photos, len(self.table))
        digests = np.empty(len(self.table), dtype=f"V{DIGEST_BYTES}")
        start = 0
        for part in rows.column("photo_hash").chunks:
            read = np.frombuffer(bytes.fromhex("".join(part.to_pylist())), dtype=digests.dtype)
            digests[start : start + len(read)] = read
            start += len(read)
        return digests

    @cached_property
    def texts(self) -> Digests:
        """(captions,) hash of each distinct text."""
        return content_digests((text.encode() for text in self.captions), len(self.captions))


class Part(NamedTuple):
    """One of several ranges of hashes, which together hold every content once.

    Attributes:
        number: which of them, from 1.
        of: how many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read a part such as 3/16.

        Raises:
            ConfigError: the text is no such part.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        part = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= part.number <= part.of:
            raise ConfigError(f"catalog.part={text}: expected such as 3/16, from 1/16 to 16/16")
        return part

    def holds(self, digests: Digests) -> NDArray[np.bool_]:
        """Return which contents are in the part, (N,) bool."""
        whole = np.ascontiguousarray(digests).view(np.uint8).reshape(-1, DIGEST_BYTES)
        first = np.ascontiguousarray(whole[:, :4]).view(">u4").ravel().astype(np.uint64)
        held: NDArray[np.bool_] = first * np.uint64(self.of) >> np.uint64(32) == self.number - 1
        return held


class Missing(NamedTuple):
    """What is not in the stores.

    Attributes:
        photos: (n,) rows of the table, one of each missing photo, ascending.
        captions: (m,) codes of the missing texts, ascending.
        damaged: the damaged rows of the store of photos and of that of texts, by hash.
    """

    photos: NDArray[np.int64]
    captions: NDArray[np.int64]
    damaged: tuple[Mapping[bytes, int], Mapping[bytes, int]] = ({}, {})

    @classmethod
    def nothing(cls) -> "Missing":
        """Nothing is missing."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    def within(self, part: "Part", contents: Contents) -> "Missing":
        """What of this is in a part of all contents."""
        photos = self.photos[part.holds(contents.photos[self.photos])]
        captions = self.captions[part.holds(contents.texts[self.captions])]
        return Missing(photos, captions, self.damaged)

    def __bool__(self) -> bool:
        return len(self.photos) + len(self.captions) > 0


class FeatureStores(NamedTuple):
    """The feature stores of a model's two towers."""

    image: FeatureStore
    text: FeatureStore

    @classmethod
    def open(cls, folder: Path) -> "FeatureStores | None":
        """Open the stores of a folder; None if they are not there."""
        if not all(FeatureStore.exists(folder / kind) for kind in cls._fields):
            return None
        return cls(FeatureStore(folder / "image"), FeatureStore(folder / "text"))

    @classmethod
    def create(
        cls, folder: Path, retriever: Retriever, dtype: str, towers: Mapping[str, Any]
    ) -> "FeatureStores":
        """Open the stores of a folder, or create those that are not there."""
        reads_text = retriever.backbone is not None and retriever.backbone.reads_text
        about = {"encoder": towers, "reads_text": reads_text}
        widths = retriever.image_head.in_features, retriever.text_head.in_features
        image, text = (
            FeatureStore.create(folder / kind, width, dtype, {"kind": kind} | about)
            for kind, width in zip(cls._fields, widths, strict=True)
        )
        return cls(image, text)

    def missing(self, contents: Contents) -> Missing:
        """Find what of a table is not stored, or is damaged; a model may read no texts."""
        self.image.check(contents.photos)
        absent = np.flatnonzero(self.image.find(contents.photos) < 0)
        first = np.unique(contents.photos[absent], return_index=True)[1]
        captions = np.empty(0, dtype=np.int64)
        if self.text.about["reads_text"]:
            self.text.check(contents.texts)
            captions = np.flatnonzero(self.text.find(contents.texts) < 0)
        damaged = dict(self.image.damaged), dict(self.text.damaged)
        return Missing(np.sort(absent[first]), captions, damaged)

    def join(self, contents: Contents) -> dict[str, StoredFeatures]:
        """Join a table with the stores: the features of its rows, by `image` and `text`.

        Raises:
            CatalogError: a photo, or a text that the model reads, is not stored.
        """
        photos, texts = self.image.find(contents.photos), self.text.find(contents.texts)
        required = [(self.image, photos)]
        if self.text.about["reads_text"]:
            required.append((self.text, texts))
        for store, rows in required:
            if (rows < 0).any():
                raise CatalogError(
                    f"{store.folder} lacks {int((rows < 0).sum())} features that were stored "
                    "before: something removes or damages it while it is used"
                )
        codes = contents.caption_codes
        of_rows = np.full(len(codes), UNKNOWN)
        if len(texts):
            of_rows = np.where(codes == UNKNOWN, UNKNOWN, texts[codes])
        return {
            "image": StoredFeatures(self.image.read(), photos),
            "text": StoredFeatures(self.text.read(), of_rows),
        }
