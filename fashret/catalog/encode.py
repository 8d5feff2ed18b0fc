"""Encode a data set's items, a part in each process, and put the parts together."""

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
"""Batches between two savings: what a killed build encodes again at most."""

_COPIED = 65_536
"""Rows that are copied at once."""

ENCODED = "encoded"
"""A file beside features that are whole, while a catalog is built."""

_CAPTIONS = "features_captions.npy"
"""Features of the distinct texts, by their codes, while a catalog is built."""


def encode_features(
    retriever: Retriever,
    table: ItemTable,
    folder: Path,
    dtype: type[np.floating[Any]],
    device: torch.device | str,
    num_workers: int,
    processes: Processes,
) -> None:
    """Write the features of this process's batches into a folder of its own in `folder`.

    Every photo is encoded, and every distinct text: equal captions are encoded once. A build that
    was killed goes on behind the batches that are on disk, if it has as many processes again.

    Raises:
        CatalogError: features contain NaN or Inf; their items are named.
    """
    backbone = retriever.backbone
    assert backbone is not None, "encoding needs towers"
    rank, world = processes.global_rank, processes.world_size
    part = _part(folder, rank, world)
    part.mkdir(exist_ok=True)
    autocast = backbone.precision != torch.float32
    kind = torch.device(device).type
    codes = ItemCodes(table)
    items, captions = table.column("item_id"), codes.captions
    name = table.key.rpartition("-")[0] + (f" (process 1 of {world})" if world > 1 else "")

    def encode(
        what: str,
        data: Dataset[Batch],
        batches: EvaluationSampler,
        tower: Callable[[Tensor], Tensor],
        path: Path,
        width: int,
    ) -> None:
        features = _Growing(path, (len(batches.own_rows), width), dtype)
        left = batches.skip_first(features.done)
        if features.done:
            log.info("going on after %d batches of %s that are encoded", features.done, what)
        bar = progress(
            total=len(batches.own_rows),
            initial=len(batches.own_rows) - sum(len(rows) for rows in left.batches),
            desc=f"encoding {name}",
            unit=f" {what}",
            disable=rank > 0,
        )
        tower = OOMSafeEncoder(tower, device)
        pending: tuple[Tensor, Tensor] | None = None

        def keep(index: Tensor, made: Tensor) -> None:
            bad = features.put(np.searchsorted(batches.own_rows, index.numpy()), made)
            if len(bad):
                rows = index[bad[: store.NAMED]].tolist()
                named = [items[row] if what == "photos" else repr(captions[row]) for row in rows]
                raise CatalogError(
                    f"features contain NaN or Inf: {len(bad)} of a batch of {len(made)} {what}, "
                    f"{', '.join(named)}{', ...' if len(bad) > store.NAMED else ''}; check the "
                    "weights (model.pretrained, run), and use model.precision=float32 and "
                    "catalog.dtype=float32, whose range is wider"
                )
            bar.update(len(made))

        for batch in BatchLoader(data, left, num_workers=num_workers):
            with torch.inference_mode(), torch.autocast(kind, backbone.precision, enabled=autocast):
                made = tower(batch["images" if what == "photos" else "tokens"])
            if pending is not None:  # a GPU computes a batch while the one before is written
                keep(*pending)
            pending = batch["index"], made
        if pending is not None:
            keep(*pending)
        features.save()
        bar.close()

    widths = _widths(retriever)
    photos = PhotoDataset(table, codes, backbone.photo_transform(), min_side=backbone.min_side)
    rows = _photo_batches(table, rank, world)
    path = part / store.FEATURES["image"]
    encode("photos", photos, rows, backbone.encode_image, path, widths["image"])
    if captions:
        texts = CaptionDataset(captions, backbone.tokenize)
        rows = _caption_batches(captions, rank, world)
        encode("captions", texts, rows, backbone.encode_text, part / _CAPTIONS, widths["text"])


def merge_features(
    retriever: Retriever, table: ItemTable, folder: Path, dtype: type[np.floating[Any]], world: int
) -> None:
    """Put the parts of all processes into the arrays of `folder`, and say so."""
    widths = _widths(retriever)
    photos = [_photo_batches(table, rank, world).own_rows for rank in range(world)]
    _merge(folder, store.FEATURES["image"], photos, (len(table), widths["image"]), dtype)
    texts = memory_mapped(folder / store.FEATURES["text"], (len(table), widths["text"]), dtype)
    codes, captions = table.codes("text")
    if captions:
        own = [_caption_batches(captions, rank, world).own_rows for rank in range(world)]
        distinct = _merge(folder, _CAPTIONS, own, (len(captions), widths["text"]), dtype)
        for start in range(0, len(table), _COPIED):
            code = codes[start : start + _COPIED]
            texts[start : start + _COPIED] = distinct[code] * (code != UNKNOWN)[:, None]
        (folder / _CAPTIONS).unlink()
    texts.flush()
    (folder / ENCODED).touch()


def remove_parts(folder: Path) -> None:
    """Remove what only a build in progress needs."""
    (folder / ENCODED).unlink(missing_ok=True)
    for part in folder.glob("part-*"):
        shutil.rmtree(part)


def memory_mapped(
    path: Path, shape: tuple[int, int], dtype: type[np.floating[Any]]
) -> "np.memmap[Any, Any]":
    """A memory-mapped .npy file: the one that is there if it fits, else a new one."""
    if path.exists():
        existing: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r+")
        if existing.shape == shape and existing.dtype == dtype:
            return existing
    made: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return made


class _Growing:
    """Features on disk that come batch by batch, and stay when the process is killed.

    Attributes:
        done: batches that are there; what was not saved of them is encoded again.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: type[np.floating[Any]]) -> None:
        self._progress = path.with_suffix(".done")
        kept = path.exists() and self._progress.exists()
        self.done = int(self._progress.read_text()) if kept else 0
        self._array = memory_mapped(path, shape, dtype)

    def put(self, places: NDArray[np.int64], features: Tensor) -> NDArray[np.int64]:
        """Take the (B, F) features of the next batch.

        Returns:
            Positions in the batch whose features are not finite as they are stored. If there are
            any, the batch is not taken.
        """
        with np.errstate(over="ignore"):  # what float16 cannot hold becomes Inf, and is found
            stored = features.float().cpu().numpy().astype(self._array.dtype)
        finite = np.isfinite(stored).all(axis=1)
        if not finite.all():
            return np.flatnonzero(~finite)
        self._array[places] = stored
        self.done += 1
        if self.done % _SAVE_EVERY == 0:
            self.save()
        return np.empty(0, dtype=np.int64)

    def save(self) -> None:
        """Put the features on disk first, then the count that vouches for them."""
        self._array.flush()
        partial = self._progress.with_suffix(".new")
        partial.write_text(str(self.done))
        partial.replace(self._progress)


def _part(folder: Path, rank: int, world: int) -> Path:
    return folder / f"part-{rank}-of-{world}"


def _photo_batches(table: ItemTable, rank: int, world: int) -> EvaluationSampler:
    """A process's photos, split by split."""
    splits = [table.rows(split) for split in table.splits]
    return EvaluationSampler(splits, rank=rank, world_size=world)


def _caption_batches(captions: list[str], rank: int, world: int) -> EvaluationSampler:
    """A process's texts, the shortest first: towers that trim them have less to do."""
    order = np.argsort([len(caption) for caption in captions], kind="stable")
    return EvaluationSampler([order], rank=rank, world_size=world)


def _merge(
    folder: Path,
    name: str,
    own: list[NDArray[np.int64]],
    shape: tuple[int, int],
    dtype: type[np.floating[Any]],
) -> "np.memmap[Any, Any]":
    """The parts of an array, each with the rows that are its own, as one in `folder`."""
    whole = memory_mapped(folder / name, shape, dtype)
    for rank, rows in enumerate(own):
        part = np.load(_part(folder, rank, len(own)) / name, mmap_mode="r")
        for start in range(0, len(rows), _COPIED):
            whole[rows[start : start + _COPIED]] = part[start : start + _COPIED]
    whole.flush()
    return whole


def _widths(retriever: Retriever) -> dict[str, int]:
    """Of the features."""
    return {"image": retriever.image_head.in_features, "text": retriever.text_head.in_features}
