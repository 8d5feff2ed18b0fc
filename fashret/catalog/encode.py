"""Encode the photos and texts of a data set, a share in each process, and merge the shares."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fashret.catalog import store
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from fashret.loading.batches import BatchLoader, CaptionDataset, PhotoDataset
from fashret.loading.samplers import EvaluationSampler
from fashret.models.oom_retry import OOMSafeEncoder
from fashret.models.retriever import Retriever
from fashret.process_sync import Processes
from fashret.progress import progress
from fashret.types import UNKNOWN, Batch

log = logging.getLogger(__name__)

_SAVE_EVERY = 20
"""Batches between two saves: a killed build encodes at most so many again."""

_COPIED = 65_536
"""Rows copied at a time."""

ENCODED = "encoded"
"""The file that marks complete features while a catalog is built."""

_CAPTIONS = "features_captions.npy"
"""The file with the features of the distinct texts while a catalog is built."""


def encode_features(
    retriever: Retriever,
    table: ItemTable,
    folder: Path,
    dtype: type[np.floating[Any]],
    device: torch.device | str,
    num_workers: int,
    processes: Processes,
) -> None:
    """Encode this process's share of the photos and texts, and write the features to disk.

    Equal captions are encoded once. A build that was killed resumes after the last batch on disk if
    the number of processes is unchanged.

    Args:
        retriever: the model with its towers.
        table: the items.
        folder: the folder of the build; each process writes a subfolder of it.
        dtype: the dtype of the stored features.
        device: the device of the towers.
        num_workers: worker processes that decode photos.
        processes: the processes that share the work.

    Raises:
        CatalogError: features contain NaN or Inf; the message names their items.
    """
    backbone = retriever.backbone
    assert backbone is not None, "encoding needs towers"
    rank, world = processes.global_rank, processes.world_size
    part = _part(folder, rank, world)
    part.mkdir(exist_ok=True)
    autocast = backbone.precision != torch.float32
    device_type = torch.device(device).type
    codes = ItemCodes(table)
    items, captions = table.column("item_id"), codes.captions
    name = table.key.rpartition("-")[0] + (f" (process 1 of {world})" if world > 1 else "")

    def encode(
        kind: str,
        data: Dataset[Batch],
        batches: EvaluationSampler,
        tower: Callable[[Tensor], Tensor],
        path: Path,
        width: int,
    ) -> None:
        features = _FeatureFile(path, (len(batches.own_rows), width), dtype)
        remaining = batches.skip_first(features.done)
        if features.done:
            log.info("resuming after %d encoded batches of %s", features.done, kind)
        bar = progress(
            total=len(batches.own_rows),
            initial=len(batches.own_rows) - sum(len(rows) for rows in remaining.batches),
            desc=f"encoding {name}",
            unit=f" {kind}",
            disable=rank > 0,
        )
        tower = OOMSafeEncoder(tower, device)
        pending: tuple[Tensor, Tensor] | None = None

        def store_batch(index: Tensor, encoded: Tensor) -> None:
            bad = features.put(np.searchsorted(batches.own_rows, index.numpy()), encoded)
            if len(bad):
                rows = index[bad[: store.NAMED]].tolist()
                named = [items[row] if kind == "photos" else repr(captions[row]) for row in rows]
                raise CatalogError(
                    f"features contain NaN or Inf: {len(bad)} of a batch of {len(encoded)} {kind}, "
                    f"{', '.join(named)}{', ...' if len(bad) > store.NAMED else ''}; check the "
                    "weights (model.pretrained, run), and use model.precision=float32 and "
                    "catalog.dtype=float32, whose range is wider"
                )
            bar.update(len(encoded))

        for batch in BatchLoader(data, remaining, num_workers=num_workers):
            with (
                torch.inference_mode(),
                torch.autocast(device_type, backbone.precision, enabled=autocast),
            ):
                encoded = tower(batch["images" if kind == "photos" else "tokens"])
            if pending is not None:  # the GPU computes a batch while the one before is written
                store_batch(*pending)
            pending = batch["index"], encoded
        if pending is not None:
            store_batch(*pending)
        features.save()
        bar.close()

    widths = _widths(retriever)
    photos = PhotoDataset(table, codes, backbone.photo_transform(), min_side=backbone.min_side)
    rows = _photo_batches(table, rank, world)
    path = part / store.FEATURES["image"]
    encode("photos", photos, rows, backbone.encode_image, path, widths["image"])
    if captions and backbone.reads_text:
        texts = CaptionDataset(captions, backbone.tokenize)
        rows = _caption_batches(captions, rank, world)
        encode("captions", texts, rows, backbone.encode_text, part / _CAPTIONS, widths["text"])


def merge_features(
    retriever: Retriever, table: ItemTable, folder: Path, dtype: type[np.floating[Any]], world: int
) -> None:
    """Merge the shares of all processes into the feature arrays of `folder`.

    Args:
        retriever: its heads decide the width of the features.
        table: the items.
        folder: the folder of the build.
        dtype: the dtype of the stored features.
        world: the number of processes that encoded.
    """
    widths = _widths(retriever)
    photos = [_photo_batches(table, rank, world).own_rows for rank in range(world)]
    _merge(folder, store.FEATURES["image"], photos, (len(table), widths["image"]), dtype)
    texts = memory_mapped(folder / store.FEATURES["text"], (len(table), widths["text"]), dtype)
    codes, captions = table.codes("text")
    if captions and retriever.backbone is not None and retriever.backbone.reads_text:
        own = [_caption_batches(captions, rank, world).own_rows for rank in range(world)]
        distinct = _merge(folder, _CAPTIONS, own, (len(captions), widths["text"]), dtype)
        for start in range(0, len(table), _COPIED):
            code = codes[start : start + _COPIED]
            texts[start : start + _COPIED] = distinct[code] * (code != UNKNOWN)[:, None]
        (folder / _CAPTIONS).unlink()
    texts.flush()
    (folder / ENCODED).touch()


def remove_parts(folder: Path) -> None:
    """Remove the intermediate files of a build."""
    (folder / ENCODED).unlink(missing_ok=True)
    for part in folder.glob("part-*"):
        shutil.rmtree(part)


def memory_mapped(
    path: Path, shape: tuple[int, int], dtype: type[np.floating[Any]]
) -> "np.memmap[Any, Any]":
    """Open a .npy file as a writable memory map; create it if it is missing or of another shape."""
    if path.exists():
        existing: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r+")
        if existing.shape == shape and existing.dtype == dtype:
            return existing
    new: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return new


class _FeatureFile:
    """Features that are written to disk batch by batch, so that a killed build can resume.

    Attributes:
        done: the number of stored batches.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: type[np.floating[Any]]) -> None:
        self._progress = path.with_suffix(".done")
        resumes = path.exists() and self._progress.exists()
        self.done = int(self._progress.read_text()) if resumes else 0
        self._array = memory_mapped(path, shape, dtype)

    def put(self, positions: NDArray[np.int64], features: Tensor) -> NDArray[np.int64]:
        """Store the features of the next batch.

        Args:
            positions: (B,) rows of the file.
            features: (B, F) float.

        Returns:
            Positions in the batch whose features are not finite in the stored dtype. If there are
            any, the batch is not stored.
        """
        with np.errstate(over="ignore"):  # overflow of float16 becomes Inf
            stored = features.float().cpu().numpy().astype(self._array.dtype)
        finite = np.isfinite(stored).all(axis=1)
        if not finite.all():
            return np.flatnonzero(~finite)
        self._array[positions] = stored
        self.done += 1
        if self.done % _SAVE_EVERY == 0:
            self.save()
        return np.empty(0, dtype=np.int64)

    def save(self) -> None:
        """Flush the features to disk, and only then write the number of batches."""
        self._array.flush()
        partial = self._progress.with_suffix(".new")
        partial.write_text(str(self.done))
        partial.replace(self._progress)


def _part(folder: Path, rank: int, world: int) -> Path:
    return folder / f"part-{rank}-of-{world}"


def _photo_batches(table: ItemTable, rank: int, world: int) -> EvaluationSampler:
    """The batches of photos of one process, split by split."""
    splits = [table.rows(split) for split in table.splits]
    return EvaluationSampler(splits, rank=rank, world_size=world)


def _caption_batches(captions: list[str], rank: int, world: int) -> EvaluationSampler:
    """The batches of texts of one process, shortest first, so that trimmed batches are small."""
    order = np.argsort([len(caption) for caption in captions], kind="stable")
    return EvaluationSampler([order], rank=rank, world_size=world)


def _merge(
    folder: Path,
    name: str,
    own: list[NDArray[np.int64]],
    shape: tuple[int, int],
    dtype: type[np.floating[Any]],
) -> "np.memmap[Any, Any]":
    """Merge the shares of an array into one file; `own` has the rows of each process."""
    merged = memory_mapped(folder / name, shape, dtype)
    for rank, rows in enumerate(own):
        part = np.load(_part(folder, rank, len(own)) / name, mmap_mode="r")
        for start in range(0, len(rows), _COPIED):
            merged[rows[start : start + _COPIED]] = part[start : start + _COPIED]
    merged.flush()
    return merged


def _widths(retriever: Retriever) -> dict[str, int]:
    """Feature width of each tower."""
    return {"image": retriever.image_head.in_features, "text": retriever.text_head.in_features}
