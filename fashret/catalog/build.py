"""Encode a data set's items once, and write the catalog folder."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from filelock import FileLock
from safetensors.torch import save_file
from tqdm.auto import tqdm

from fashret import __version__
from fashret.catalog import store
from fashret.catalog.store import Catalog, checksum, open_catalog, verify
from fashret.data.batches import ItemCodes, PhotoDataset, PhotoLoader, tokenized
from fashret.data.items import ItemTable
from fashret.data.samplers import EVALUATION_BATCH, EvaluationBatches
from fashret.errors import CatalogError
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN

log = logging.getLogger(__name__)

_SAVE_EVERY = 20
"""Batches between two savings: what a killed build encodes again at most."""

DTYPES: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}


def catalog_key(identity: Mapping[str, Any], table: ItemTable, dtype: str) -> str:
    """A name for everything that could change a number in a catalog."""
    value = [store.FORMAT, identity, table.key, dtype]
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
    base: Catalog | None = None,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
) -> Catalog:
    """The catalog of a data set under an encoder: opened, or built now.

    A build that was killed goes on where it was: nothing is encoded twice. Two processes that
    want the same catalog wait for one another.

    Args:
        table: the items.
        identity: of the encoder; a part of the key.
        load: makes the encoder, called only if something has to be encoded.
        cache_dir: the cache; the folder's name there is the key.
        label: of the encoder, for the folder's name.
        dtype: of the stored arrays, float16 or float32.
        folder: where to write it instead.
        base: a catalog whose stored features `load`'s heads stand on: nothing is encoded then.
        device: of the encoder.
        num_workers: processes that decode photos.

    Raises:
        CatalogError: `folder` holds another catalog or something else.
    """
    if dtype not in DTYPES:
        raise CatalogError(f"catalog.dtype={dtype}: it must be one of {', '.join(DTYPES)}")
    key = catalog_key(identity, table, dtype)
    where = folder or cache_dir / "catalogs" / f"{label}-{table.key}-{key}"
    where.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{where}.lock"):
        if where.exists():
            return open_catalog(where, key=key)
        partial = where.with_name(f"{where.name}.partial")
        _claim(partial, key)
        log.info("building the catalog %s of %d items", where, len(table))
        retriever = load().eval().requires_grad_(False).to(device)
        if base is None:
            _encode(retriever, table, partial, DTYPES[dtype], device, num_workers)
        features = partial if base is None else base.folder
        _embed(retriever, table, features, partial, DTYPES[dtype], device)
        _write_meta(table, partial)
        manifest = {
            "format": store.FORMAT,
            "key": key,
            "count": len(table),
            "dim": retriever.dim,
            "blocks": dict(retriever.layout.columns),
            "dtype": dtype,
            "model": label,
            "encoder": identity,
            "preprocess": _preprocess(retriever, base),
            "data": table.key,
            "splits": {split: len(table.rows(split)) for split in table.splits},
            "versions": _versions(),
        }
        _write_manifest(manifest, partial)
        partial.rename(where)
    catalog = open_catalog(where, key=key)
    verify(catalog)
    return catalog


def _claim(partial: Path, key: str) -> None:
    """Make the folder of a build in progress, or take over the one of a killed build."""
    owner = partial / "key"
    if partial.exists() and (not owner.is_file() or owner.read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    owner.write_text(key)


def _encode(
    retriever: Retriever,
    table: ItemTable,
    folder: Path,
    dtype: type[np.floating[Any]],
    device: torch.device | str,
    num_workers: int,
) -> None:
    """Write the features of every item, batch by batch, split by split.

    `done` in the folder counts the batches whose features are on disk.
    """
    backbone = retriever.backbone
    assert backbone is not None, "encoding needs towers"
    codes = ItemCodes(table)
    tokens = tokenized(backbone.tokenize, codes.captions)
    transform, least = backbone.photo_transform(), backbone.least
    photos = PhotoDataset(table, codes, transform, tokens, least=least)
    widths = {"image": retriever.image_head.in_features, "text": retriever.text_head.in_features}
    progress = folder / "done"
    kept = progress.exists() and all((folder / f).exists() for f in store.FEATURES.values())
    done = int(progress.read_text()) if kept else 0
    arrays = {
        kind: _array(folder / store.FEATURES[kind], (len(table), widths[kind]), dtype)
        for kind in widths
    }
    if done:
        log.info("going on after %d batches that are already encoded", done)
    batches = EvaluationBatches([table.rows(split) for split in table.splits], skip=done)
    bar = tqdm(
        total=len(table),
        initial=len(table) - sum(len(part) for part in batches.batches),
        desc=f"encoding {table.key.rpartition('-')[0]}",
        unit=" items",
    )
    for batch in PhotoLoader(photos, batches, num_workers=num_workers):
        with torch.inference_mode():
            images = backbone.encode_image(batch["images"].to(device))
            texts = backbone.encode_text(batch["tokens"].to(device))
        known = (batch["caption"] != UNKNOWN).to(device)[:, None]
        here = batch["index"].numpy()
        arrays["image"][here] = images.float().cpu().numpy()
        arrays["text"][here] = (texts * known).float().cpu().numpy()
        done += 1
        if done % _SAVE_EVERY == 0 or done == batches.total:
            _save_progress(arrays, progress, done)
        bar.update(len(here))
    bar.close()


def _save_progress(arrays: Mapping[str, "np.memmap[Any, Any]"], path: Path, number: int) -> None:
    """Put the arrays on disk first, then the count that vouches for them."""
    for array in arrays.values():
        array.flush()
    partial = path.with_suffix(".new")
    partial.write_text(str(number))
    partial.replace(path)


def _embed(
    retriever: Retriever,
    table: ItemTable,
    source: Path,
    folder: Path,
    dtype: type[np.floating[Any]],
    device: torch.device | str,
) -> None:
    """Write the embeddings that the heads make of the features in `source`, and the heads."""
    has_text = torch.from_numpy(table.codes("text")[0]) != UNKNOWN
    for kind, path in store.EMBEDDINGS.items():
        features = np.load(source / store.FEATURES[kind], mmap_mode="r")
        array = _array(folder / path, (len(table), retriever.dim), dtype)
        for split in table.splits:
            rows = table.rows(split)
            for start in range(0, len(rows), EVALUATION_BATCH):
                here = rows[start : start + EVALUATION_BATCH]
                part = torch.from_numpy(features[here].astype(np.float32)).to(device)
                with torch.inference_mode():
                    if kind == "image":
                        made = retriever.embed_image(part)
                    else:
                        made = retriever.embed_text(part, has_text[here].to(device))
                array[here] = made.float().cpu().numpy()
        array.flush()
    image, text, blocks = retriever.heads
    projections = {"image": image, "text": text}
    for name, pair in blocks.items():
        projections |= {f"{name}.image": pair[0], f"{name}.text": pair[1]}
    tensors = {
        f"{name}.{part}": value.cpu().contiguous()
        for name, projection in projections.items()
        for part, value in vars(projection).items()
        if value is not None
    }
    save_file(tensors, folder / store.HEADS)


def _write_meta(table: ItemTable, folder: Path) -> None:
    columns = ["item_id", "product_id", "split", "category", *table.attributes, "text"]
    if "role" in table.dataset.column_names:
        columns.append("role")
    pq.write_table(table.dataset.data.table.select(columns), folder / store.META)


def _preprocess(retriever: Retriever, base: Catalog | None) -> object:
    """How the photos of a catalog were prepared."""
    if retriever.backbone is not None:
        return vars(retriever.backbone.preprocess)
    return None if base is None else base.manifest["preprocess"]


def _versions() -> dict[str, str]:
    names = ("torch", "torchvision", "open_clip_torch", "timm", "pillow")
    return {"fashret": __version__} | {name: version(name) for name in names}


def _write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    """Describe the finished folder; what only the build needed is removed."""
    for name in ("key", "done"):
        (folder / name).unlink(missing_ok=True)
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": checksum(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / store.MANIFEST).write_text(json.dumps(manifest, indent=2, default=str))


def _array(
    path: Path, shape: tuple[int, int], dtype: type[np.floating[Any]]
) -> "np.memmap[Any, Any]":
    """A memory-mapped .npy file: the one that is there if it fits, else a new one."""
    if path.exists():
        existing: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r+")
        if existing.shape == shape and existing.dtype == dtype:
            return existing
    made: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return made
