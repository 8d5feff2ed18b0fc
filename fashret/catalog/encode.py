"""Encode a data set's items, a part in each process, and put the parts together."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from fashret.catalog import store
from fashret.catalog.processes import Processes
from fashret.data.batches import ItemCodes, PhotoDataset, PhotoLoader, tokenized
from fashret.data.items import ItemTable
from fashret.data.samplers import EvaluationBatches
from fashret.models.memory import WithinMemory
from fashret.models.retriever import Retriever
from fashret.types import UNKNOWN

log = logging.getLogger(__name__)

_SAVE_EVERY = 20
"""Batches between two savings: what a killed build encodes again at most."""

_COPIED = 65_536
"""Rows that are copied at once."""


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

    `done` there counts the batches whose features are on disk: a build that was killed goes on
    behind them, if it has as many processes again.
    """
    backbone = retriever.backbone
    assert backbone is not None, "encoding needs towers"
    codes = ItemCodes(table)
    tokens = tokenized(backbone.tokenize, codes.captions)
    transform, least = backbone.photo_transform(), backbone.least
    photos = PhotoDataset(table, codes, transform, tokens, least=least)
    rank, world = processes.global_rank, processes.world_size
    part = _part(folder, rank, world)
    part.mkdir(exist_ok=True)
    progress = part / "done"
    kept = progress.exists() and all((part / f).exists() for f in store.FEATURES.values())
    done = int(progress.read_text()) if kept else 0
    batches = _batches(table, rank, world, skip=done)
    arrays = {
        kind: memory_mapped(part / store.FEATURES[kind], (len(batches.own), width), dtype)
        for kind, width in _widths(retriever).items()
    }
    if done:
        log.info("going on after %d batches that are already encoded", done)
    encode_image = WithinMemory(backbone.encode_image, device)
    encode_text = WithinMemory(backbone.encode_text, device)
    bar = tqdm(
        total=len(batches.own),
        initial=len(batches.own) - sum(len(rows) for rows in batches.batches),
        desc=f"encoding {table.key.rpartition('-')[0]}" + (f", 1 of {world}" if world > 1 else ""),
        unit=" items",
        disable=rank > 0,
    )
    for batch in PhotoLoader(photos, batches, num_workers=num_workers):
        with torch.inference_mode():
            images, texts = encode_image(batch["images"]), encode_text(batch["tokens"])
        known = (batch["caption"] != UNKNOWN).to(device)[:, None]
        here = np.searchsorted(batches.own, batch["index"].numpy())
        arrays["image"][here] = images.float().cpu().numpy()
        arrays["text"][here] = (texts * known).float().cpu().numpy()
        done += 1
        if done % _SAVE_EVERY == 0 or done == batches.total:
            _save_progress(arrays, progress, done)
        bar.update(len(here))
    bar.close()


def merge_features(
    retriever: Retriever, table: ItemTable, folder: Path, dtype: type[np.floating[Any]], world: int
) -> None:
    """Put the parts of all processes into the arrays of `folder`, and remove them."""
    for kind, width in _widths(retriever).items():
        name = store.FEATURES[kind]
        if world == 1:  # the part is the whole
            (_part(folder, 0, 1) / name).replace(folder / name)
            continue
        whole = memory_mapped(folder / name, (len(table), width), dtype)
        for rank in range(world):
            part = np.load(_part(folder, rank, world) / name, mmap_mode="r")
            own = _batches(table, rank, world).own
            for start in range(0, len(own), _COPIED):
                whole[own[start : start + _COPIED]] = part[start : start + _COPIED]
        whole.flush()
    for part_folder in folder.glob("part-*"):
        shutil.rmtree(part_folder)


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


def _part(folder: Path, rank: int, world: int) -> Path:
    return folder / f"part-{rank}-of-{world}"


def _batches(table: ItemTable, rank: int, world: int, *, skip: int = 0) -> EvaluationBatches:
    """A process's batches, split by split."""
    splits = [table.rows(split) for split in table.splits]
    return EvaluationBatches(splits, rank=rank, world=world, skip=skip)


def _widths(retriever: Retriever) -> dict[str, int]:
    """Of the features."""
    return {"image": retriever.image_head.in_features, "text": retriever.text_head.in_features}


def _save_progress(arrays: Mapping[str, "np.memmap[Any, Any]"], path: Path, number: int) -> None:
    """Put the arrays on disk first, then the count that vouches for them."""
    for array in arrays.values():
        array.flush()
    partial = path.with_suffix(".new")
    partial.write_text(str(number))
    partial.replace(path)
