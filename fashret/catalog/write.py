"""Write the files of a catalog folder: embeddings, features, items, heads and the manifest."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import Tensor

from fashret.catalog.folder import (
    EMBEDDINGS,
    FEATURES,
    HEADS,
    MANIFEST,
    META,
    check_finite,
    checksum,
)
from fashret.data.items import ItemTable
from fashret.disk import require_space
from fashret.errors import CatalogError
from fashret.functional.similarity import Vectors
from fashret.loading.samplers import EVALUATION_BATCH
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN
from fashret.version import __version__

_COPIED = 65_536
"""Rows copied at a time."""

_Append = Callable[[Tensor], object]
"""Appends (n, D) rows to an array's file."""


def write_catalog(
    target: Path,
    retriever: Retriever,
    table: ItemTable,
    features: Mapping[str, Vectors],
    manifest: Mapping[str, Any],
    *,
    with_features: bool,
) -> dict[str, Any]:
    """Write a catalog beside its folder, and move it there when it is complete.

    Args:
        target: the folder; it must not exist.
        retriever: the heads that embed the features, and their device.
        table: the items.
        features: the features of the items, by `image` and `text`.
        manifest: what is known of the catalog: its format, key, data and encoder.
        with_features: whether the features are written too.

    Returns:
        The manifest of the folder.

    Raises:
        CatalogError: embeddings contain NaN or Inf; the disk is too small.
    """
    dtype = np.dtype(manifest["dtype"])
    width = 2 * retriever.dim
    if with_features:
        width += retriever.image_head.in_features + retriever.text_head.in_features
    needed = len(table) * width * dtype.itemsize
    require_space(target, needed, f"the embeddings of {len(table)} items")
    partial = target.with_name(f"{target.name}.partial")
    _claim(partial, manifest["key"])
    try:
        if with_features:
            for kind, path in FEATURES.items():
                _copy(features[kind], partial / path, dtype)
        _embed(retriever, table, features, partial, dtype)
        _write_heads(retriever, partial / HEADS)
        _write_items(item_columns(table), partial / META)
        (partial / "key").unlink()
    except OSError as e:
        raise CatalogError(
            f"the catalog {target} cannot be written: {e.strerror or e}; what was encoded is "
            "stored, and the next start writes it again"
        ) from e
    whole = {
        **manifest,
        "versions": _versions(),
        "dim": retriever.dim,
        "blocks": dict(retriever.layout.columns),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": checksum(path)}
            for path in sorted(partial.iterdir())
        },
    }
    (partial / MANIFEST).write_text(json.dumps(whole, indent=2, default=str))
    partial.rename(target)
    return whole


def item_columns(table: ItemTable) -> pa.Table:
    """Return the item table as a catalog has it."""
    columns = ["item_id", "product_id", "split", "category", *table.attributes, "text"]
    columns += [name for name in ("role", "photo_hash") if name in table.dataset.column_names]
    return table.dataset.data.table.select(columns)


def _claim(partial: Path, key: str) -> None:
    """Create the folder of a build, in place of that of a killed one."""
    if partial.exists():
        if not (partial / "key").is_file():
            raise CatalogError(f"{partial} is in the way: remove it, or choose another catalog.dir")
        shutil.rmtree(partial)
    partial.mkdir()
    (partial / "key").write_text(key)


@contextmanager
def _array_file(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> Iterator[_Append]:
    """Open an array's file for rows that are appended in order.

    Not as a memory map: there a full disk would end the process without a word, and what is
    written would count as memory.
    """
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        yield lambda rows: file.write(np.ascontiguousarray(rows.numpy(), dtype=dtype).tobytes())


def _copy(features: Vectors, path: Path, dtype: np.dtype[Any]) -> None:
    """Write features as one array."""
    width = features[slice(0, 1)].shape[1]
    with _array_file(path, (len(features), width), dtype) as append:
        for start in range(0, len(features), _COPIED):
            append(features[slice(start, start + _COPIED)])


def _embed(
    retriever: Retriever,
    table: ItemTable,
    features: Mapping[str, Vectors],
    folder: Path,
    dtype: np.dtype[Any],
) -> None:
    """Apply the heads to the features, and write the embeddings."""
    device = retriever.device
    has_text = torch.from_numpy(table.text_codes()[0] != UNKNOWN)
    for kind, name in EMBEDDINGS.items():
        path = folder / name
        with _array_file(path, (len(table), retriever.dim), dtype) as append:
            for batch in _batches(table):
                part = features[kind][batch].float().to(device)
                with torch.inference_mode():
                    if kind == "image":
                        embedded = retriever.embed_image(part)
                    else:
                        embedded = retriever.embed_text(part, has_text[batch].to(device))
                append(embedded.float().cpu())
        stored = np.load(path, mmap_mode="r")
        check_finite(stored, lambda: table.column("item_id"), f"{folder}: {kind} embeddings")


def _batches(table: ItemTable) -> Iterator[Tensor]:
    """The rows of a table in order, in the batches that every evaluation embeds them in."""
    for split in table.splits:
        rows = torch.from_numpy(table.rows(split))
        yield from rows.split(EVALUATION_BATCH)


def _write_items(items: pa.Table, path: Path) -> None:
    """Write the items some rows at a time: all columns of a part of the table's files at once."""
    with pq.ParquetWriter(path, items.schema) as writer:
        for start in range(0, len(items), _COPIED):
            writer.write_table(items.slice(start, _COPIED))


def _write_heads(retriever: Retriever, path: Path) -> None:
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
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors makes it readable for its owner only


def _versions() -> dict[str, str]:
    names = ("torch", "torchvision", "open_clip_torch", "timm", "pillow")
    return {"fashret": __version__} | {name: version(name) for name in names}
