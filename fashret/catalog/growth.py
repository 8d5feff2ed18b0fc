"""Update a catalog folder: what changes by item id, and the switch from one version to the next."""

import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fashret.catalog.contents import FeatureStores
from fashret.catalog.feature_store import DIGEST_BYTES, content_digests
from fashret.catalog.folder import MANIFEST, Catalog, write_manifest
from fashret.catalog_files import files_folder

_KEPT = 2
"""Versions whose files are kept: readers of the one before may still be at work."""

_ROWS = 65_536
"""Rows copied at a time."""


@dataclass(frozen=True)
class Changes:
    """How many items an update adds, changes and removes.

    Attributes:
        added: items with a new id.
        changed: items whose photo, text, product, split, category or attributes differ.
        removed: items that are gone.
        unchanged: all others.
    """

    added: int
    changed: int
    removed: int
    unchanged: int

    @property
    def kept(self) -> int:
        """The number of items that are there before and after."""
        return self.changed + self.unchanged

    @classmethod
    def between(cls, before: pd.DataFrame, after: pd.DataFrame) -> "Changes":
        """Compare two item tables by `item_id`; a column that only one of them has differs."""
        old, new = before.set_index("item_id"), after.set_index("item_id")
        common = old.index.intersection(new.index)
        columns = old.columns.union(new.columns)
        first, second = (
            table.reindex(columns=columns).loc[common].fillna("").astype(str)
            for table in (old, new)
        )
        changed = int((first != second).any(axis=1).sum())
        return cls(len(new) - len(common), changed, len(old) - len(common), len(common) - changed)

    def __str__(self) -> str:
        return f"{self.added} items added, {self.changed} changed, {self.removed} removed"


def store_features(catalog: Catalog, stores: FeatureStores) -> None:
    """Store the features that a catalog folder has, so that they are not encoded again.

    The cache may be empty: a folder that is updated each night on another machine.

    Args:
        catalog: a catalog whose items have hashes of their photos; others are left as they are.
        stores: the stores of the same towers.
    """
    meta = catalog.meta()
    if not catalog.has_features or "photo_hash" not in meta:
        return
    photos = np.frombuffer(bytes.fromhex("".join(meta["photo_hash"])), dtype=f"V{DIGEST_BYTES}")
    has_text = np.flatnonzero(meta["text"].fillna("").ne(""))
    texts = content_digests(text.encode() for text in meta["text"].iloc[has_text])
    parts = [
        (stores.image, photos, np.arange(len(meta)), catalog.image_features),
        (stores.text, texts, has_text, catalog.text_features),
    ]
    for store, digests, rows, features in parts:
        first = np.sort(np.unique(digests, return_index=True)[1])
        first = first[store.find(digests[first]) < 0]
        for start in range(0, len(first), _ROWS):
            part = first[start : start + _ROWS]
            found = features[torch.from_numpy(rows[part])].numpy()
            finite = np.isfinite(found).all(axis=1)
            store.append(digests[part[finite]], found[finite])


def switch(folder: Path, version: int, changes: Changes, manifest: Mapping[str, Any]) -> None:
    """Make a new version the current one: readers see it, or the one before, and nothing between.

    The manifest has the number of the version, which names the folder of its files, and is
    replaced at once. The files of the version before are kept for its readers, older ones are
    removed. The names that other programs read (`catalog_img.npy` and so on) are then made links
    to the new version's files.

    Args:
        folder: the catalog folder.
        version: the number of the new version, whose complete files are in `version-<number>`.
        changes: what it changes.
        manifest: the manifest of the new version.
    """
    before = json.loads((folder / MANIFEST).read_text())
    entry = {
        "version": version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "count": manifest["count"],
        "data": manifest["data"],
        **asdict(changes),
    }
    new = {
        **manifest,
        "version": version,
        "index": before.get("index"),  # of the version before: built again where it is wanted
        "history": [*before.get("history", []), entry],
    }
    write_manifest(folder, new)
    link_files(folder, new)
    for path in folder.glob("version-*"):
        with suppress(ValueError):
            if int(path.name.rpartition("-")[2]) <= version - _KEPT:
                shutil.rmtree(path)


def link_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make the names that other programs read links to the current version's files.

    Those that are so already stay: it is called again in case an update was killed at this point.
    """
    files = files_folder(folder, manifest)
    if files == folder:
        return
    for name in manifest["files"]:
        target, link = files / name, folder / name
        if link.exists() and (link.samefile(target) or filecmp.cmp(link, target, shallow=True)):
            continue
        draft = folder / f"{name}.new"
        draft.unlink(missing_ok=True)
        try:
            os.link(target, draft)
        except OSError:  # a file system without hard links
            shutil.copy2(target, draft)
        draft.replace(link)
