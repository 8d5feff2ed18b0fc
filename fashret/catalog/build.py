"""Build a catalog: encode the items of a data set once, and write the catalog folder."""

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
from fashret.process_sync import Processes, SingleProcess
from fashret.types import UNKNOWN
from fashret.version import __version__

log = logging.getLogger(__name__)

DTYPES: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}


def catalog_key(identity: Mapping[str, Any], table: ItemTable, dtype: str) -> str:
    """Return a hash of everything that decides the numbers of a catalog: encoder, data, dtype."""
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
    """Open the catalog of a data set and an encoder, or build it first.

    A build that was killed is resumed: nothing is encoded twice. Two commands that need the same
    catalog wait for one another. Several processes of one command encode a share each, in the
    same batches as a single process, so that the numbers are the same.

    Args:
        table: the items.
        identity: the identity of the encoder (weights, preprocessing); a part of the key.
        load: loads the encoder; called only if the catalog has to be built.
        cache_dir: the cache, where the folder is named by label and key.
        label: the name of the encoder in the folder's name.
        dtype: the dtype of the stored arrays, float16 or float32.
        folder: the folder to write instead of one in the cache; None for the cache.
        base: a catalog with the tower features of the same encoder; None to encode them.
        device: the device of the encoder.
        num_workers: worker processes that decode photos.
        processes: the processes that call this together; None for a single process.

    Returns:
        The catalog; a new one is verified.

    Raises:
        CatalogError: `dtype` is not allowed; `folder` holds another catalog or something else;
            features or embeddings contain NaN or Inf.
    """
    if dtype not in DTYPES:
        raise CatalogError(f"catalog.dtype={dtype}: must be one of {', '.join(DTYPES)}")
    key = catalog_key(identity, table, dtype)
    target = folder or cache_dir / "catalogs" / f"{label}-{table.key}-{key}"
    target.parent.mkdir(parents=True, exist_ok=True)
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
    processes = processes or SingleProcess()
    first = processes.global_rank == 0
    with file_lock(f"{target}.lock", f"the catalog {target.name}") if first else nullcontext():
        if processes.broadcast(target.exists()):
            return open_catalog(target, key=key)
        partial = target.with_name(f"{target.name}.partial")
        if first:
            _claim(partial, key)
            log.info("building the catalog %s of %d items", target, len(table))
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
            partial.rename(target)
        processes.barrier()
    catalog = open_catalog(target, key=key)
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
    """Write the embeddings, the item metadata and the manifest."""
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
    """Create the folder of a build, or take over that of a killed build with the same key."""
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
    """Apply the heads to the features stored in `source`; write the embeddings and the heads."""
    has_text = torch.from_numpy(table.codes("text")[0]) != UNKNOWN
    for kind, path in store.EMBEDDINGS.items():
        features = np.load(source / store.FEATURES[kind], mmap_mode="r")
        array = memory_mapped(folder / path, (len(table), retriever.dim), dtype)
        for split in table.splits:
            rows = table.rows(split)
            for start in range(0, len(rows), EVALUATION_BATCH):
                batch = rows[start : start + EVALUATION_BATCH]
                part = torch.from_numpy(features[batch].astype(np.float32)).to(device)
                with torch.inference_mode():
                    if kind == "image":
                        embedded = retriever.embed_image(part)
                    else:
                        embedded = retriever.embed_text(part, has_text[batch].to(device))
                array[batch] = embedded.float().cpu().numpy()
        array.flush()
        store.check_finite(array, lambda: table.column("item_id"), f"{folder}: {kind} embeddings")
    image, text, attribute_heads = retriever.heads
    projections = {"image": image, "text": text}
    for name, pair in attribute_heads.items():
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
    """The preprocessing of the photos, for the manifest."""
    if retriever.backbone is not None:
        return vars(retriever.backbone.preprocess)
    return None if base is None else base.manifest["preprocess"]


def _versions() -> dict[str, str]:
    names = ("torch", "torchvision", "open_clip_torch", "timm", "pillow")
    return {"fashret": __version__} | {name: version(name) for name in names}


def _write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    """Write manifest.json of a finished folder, and remove the intermediate files."""
    remove_parts(folder)
    (folder / "key").unlink()
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": checksum(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / store.MANIFEST).write_text(json.dumps(manifest, indent=2, default=str))
