"""Encode a data set's items once, and write the catalog folder."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from fashret.catalog import store
from fashret.catalog.encode import (
    ENCODED,
    encode_features,
    memory_mapped,
    merge_features,
    remove_parts,
)
from fashret.catalog.store import Catalog, checksum, open_catalog, verify
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from fashret.file_lock import file_lock
from fashret.loading.samplers import EVALUATION_BATCH
from fashret.models.retriever import Retriever
from fashret.process_sync import Alone, Processes
from fashret.types import UNKNOWN
from fashret.version import __version__

log = logging.getLogger(__name__)

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
    processes: Processes | None = None,
) -> Catalog:
    """The catalog of a data set under an encoder: opened, or built now.

    A build that was killed goes on where it was: nothing is encoded twice. Two commands that want
    the same catalog wait for one another. The processes of one command encode a part each; the
    parts are those of the same batches that one process has, so that the numbers are too.

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
        processes: that all call this together; None for this one alone.

    Raises:
        CatalogError: `folder` holds another catalog or something else; features or embeddings
            contain NaN or Inf.
    """
    if dtype not in DTYPES:
        raise CatalogError(f"catalog.dtype={dtype}: it must be one of {', '.join(DTYPES)}")
    key = catalog_key(identity, table, dtype)
    where = folder or cache_dir / "catalogs" / f"{label}-{table.key}-{key}"
    where.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "format": store.FORMAT,
        "key": key,
        "count": len(table),
        "dtype": dtype,
        "model": label,
        "encoder": identity,
        "data": table.key,
        "splits": {split: len(table.rows(split)) for split in table.splits},
        "versions": _versions(),
    }
    processes = processes or Alone()
    first = processes.global_rank == 0
    with file_lock(f"{where}.lock", f"the catalog {where.name}") if first else nullcontext():
        if processes.broadcast(where.exists()):
            return open_catalog(where, key=key)
        partial = where.with_name(f"{where.name}.partial")
        if first:
            _claim(partial, key)
            log.info("building the catalog %s of %d items", where, len(table))
        processes.barrier()
        retriever = load().eval().requires_grad_(False).to(device)
        encoded = base is not None or (partial / ENCODED).exists()
        if not encoded:
            encode_features(
                retriever, table, partial, DTYPES[dtype], device, num_workers, processes
            )
        processes.barrier()
        if first:
            if not encoded:
                merge_features(retriever, table, partial, DTYPES[dtype], processes.world_size)
            _finish(retriever, table, partial, manifest, base, device)
            partial.rename(where)
        processes.barrier()
    catalog = open_catalog(where, key=key)
    if first:
        verify(catalog)
    return catalog


def _finish(
    retriever: Retriever,
    table: ItemTable,
    folder: Path,
    manifest: dict[str, Any],
    base: Catalog | None,
    device: torch.device | str,
) -> None:
    """Embed what was encoded, and describe it."""
    source = folder if base is None else base.folder
    _embed(retriever, table, source, folder, DTYPES[manifest["dtype"]], device)
    _write_meta(table, folder)
    manifest |= {
        "dim": retriever.dim,
        "blocks": dict(retriever.layout.columns),
        "preprocess": _preprocess(retriever, base),
    }
    _write_manifest(manifest, folder)


def _claim(partial: Path, key: str) -> None:
    """Make the folder of a build in progress, or take over the one of a killed build."""
    owner = partial / "key"
    if partial.exists() and (not owner.is_file() or owner.read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    owner.write_text(key)


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
        array = memory_mapped(folder / path, (len(table), retriever.dim), dtype)
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
        store.check_finite(array, lambda: table.column("item_id"), f"{folder}: {kind} embeddings")
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
    remove_parts(folder)
    (folder / "key").unlink()
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": checksum(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / store.MANIFEST).write_text(json.dumps(manifest, indent=2, default=str))
