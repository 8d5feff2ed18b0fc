"""Preparation of a source's item table, once, cached under a key of its content."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.table import InMemoryTable
from datasets.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from numpy.typing import NDArray

from fashret.cache import mark_used
from fashret.data.draft import Draft, DraftWriter
from fashret.data.file_hashes import contents_digest
from fashret.data.item_splits import splits_of_items
from fashret.data.items import ItemTable
from fashret.data.overrides import Overrides
from fashret.data.photo_checks import ResumeLog, checked_items
from fashret.data.photo_copies import find_copies, join_copies, report_copies
from fashret.data.preparation_report import Report
from fashret.data.product_grouping import STATED, Products
from fashret.data.source import Source
from fashret.data.splits import SPLITS, digest
from fashret.data.string_columns import encode
from fashret.errors import DataError
from fashret.file_lock import file_lock

log = logging.getLogger(__name__)

_FORMAT = 6
"""Version of the prepared tables; a new one makes all of them anew."""


def prepare(source: Source, cache_dir: Path, *, folder: Path | None = None) -> ItemTable:
    """Prepare a source's item table, or open the prepared one in the cache.

    Concurrent runs that need the same table wait for one another. An interrupted run leaves no
    incomplete table, and the next run does not check again the photos that it had checked.

    Args:
        source: the data source.
        cache_dir: folder of the cache.
        folder: the source's `prepared_folder`, if it is computed already.

    Raises:
        DataError: the source cannot be read, none of its photos is usable, or a split is empty.
    """
    folder = folder or prepared_folder(source, Path(cache_dir))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(f"{folder}.lock", f"data {source.name}"):
        if not folder.exists():
            draft = folder.with_name(f"{folder.name}.partial")
            draft.mkdir(exist_ok=True)
            resume_log = ResumeLog(draft / "checked_photos")
            report = _write_table(source, draft, resume_log)
            (draft / "report.json").write_text(json.dumps(report.to_dict(), indent=2))
            resume_log.delete()
            draft.rename(folder)
            log.info("prepared %s: %s", source.name, report.summary())
            log.info("preparation report: %s", folder / "report.json")
    mark_used(folder)
    return ItemTable(folder, source.attributes)


def prepared_folder(source: Source, cache_dir: Path) -> Path:
    """Return the folder of a source's item table in the cache, whether it exists or not.

    Args:
        source: the data source.
        cache_dir: folder of the cache.
    """
    (identity, options), files, contents = source.cache_key_parts(), list(source.files()), ""
    if files:
        index = cache_dir / "data" / "file_hashes.sqlite"
        index.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(
            f"{index}.lock", "hashes of files"
        ):  # of several processes the first reads the files
            contents = contents_digest(files, index)
    overrides = Overrides.from_source(source).identity()
    key = digest([_FORMAT, identity, contents, options, *overrides])
    folder = cache_dir / "data"
    existing = sorted(folder.glob(f"*-{key}"))  # a copy of the set may have another name
    return existing[0] if existing else folder / f"{source.label}-{key}"


def _write_table(source: Source, folder: Path, resume_log: ResumeLog) -> Report:
    """Read, check and split the items, and write them as `folder/table`."""
    report = Report()
    with closing(DraftWriter(folder, source.attributes)) as writer:
        _read_items(source, folder, resume_log, report, writer)
        draft = writer.finish()
    photos = find_copies(encode(draft.strings("photo_hash"))[0], draft.signatures)
    products, groups = _products(source, draft, photos, report)
    splits = splits_of_items(source, draft, groups, report, without_split=writer.without_split)
    report_copies(products, splits, photos, report, item_id=draft.item_id)
    table = draft.table(products, photos, splits)
    # As `table.select(order)`, which takes three times the memory of the order.
    order = pa.table({"indices": np.argsort(splits, kind="stable").view(np.uint64)})
    sorted_table = Dataset(table.data, table.info, indices_table=InMemoryTable(order))
    with _saving():
        sorted_table.save_to_disk(str(folder / "table"))
    draft.delete()
    _report_coverage(source, splits, report)
    return report


@contextmanager
def _saving() -> Iterator[None]:
    """Let `datasets` save a table as it reads best.

    In batches of 1,000 rows rather than of 100: each costs 7 KB of memory of whoever opens the
    table. With a bar in a terminal alone: in a file it writes one long line.
    """
    rows = datasets.config.ARROW_RECORD_BATCH_SIZE_FOR_IMAGE_DATASETS
    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    datasets.config.ARROW_RECORD_BATCH_SIZE_FOR_IMAGE_DATASETS = None
    try:
        if hide:
            disable_progress_bars()
        yield
    finally:
        datasets.config.ARROW_RECORD_BATCH_SIZE_FOR_IMAGE_DATASETS = rows
        if hide:
            enable_progress_bars()


def _read_items(
    source: Source, folder: Path, resume_log: ResumeLog, report: Report, writer: DraftWriter
) -> None:
    """Write the items that can be used, as they are read; and their true values, where known."""
    overrides = Overrides.from_source(source)
    corrected: set[str] = set()
    truth: list[dict[str, str]] = []
    for item, encoded, photo_hash, signature in checked_items(source, report, resume_log):
        if item.item_id in overrides.rows:
            corrected.add(item.item_id)
            if not overrides.apply(item, report):
                continue
        source.describe(item, report)
        text = " ".join(item.text.split())
        if text != item.text:
            report.repair("white space in text", item.origin or item.item_id)
            item.text = text
        for name in source.attributes:
            value = item.attributes.get(name) or "unknown"
            report.cover(name, item.category, known=value != "unknown")
        if item.truth:
            truth.append({"item_id": item.item_id, **item.truth})
        writer.add(item, encoded, photo_hash, signature, source.join_key(item))
    if not writer.count:
        raise DataError(
            f"no item of data '{source.name}' can be used: {report.summary()}; "
            f"examples: {_some_examples(report)}"
        )
    report.rows_kept = writer.count
    if truth:
        pq.write_table(pa.Table.from_pylist(truth), folder / "truth.parquet")
    if missing := sorted(overrides.rows.keys() - corrected):
        first = ", ".join(missing[:5])
        report.note(f"{overrides.path}: {len(missing)} of its items are not in the data: {first}")
        log.warning("%s", report.notes[-1])


def _products(
    source: Source, draft: Draft, photos: NDArray[np.int32], report: Report
) -> tuple[Products, Products]:
    """Find the product of each item, and those whose items must be in one split.

    Args:
        source: the source, with the rules of inferred products.
        draft: the items.
        photos: (N,) int codes of photos, equal for copies.
        report: gets a note of inferred products.

    Returns:
        The products; and those of them whose items are in one split.
    """
    codes, names = encode(draft.strings("_product"))
    if draft.strings("_key").null_count < len(draft):
        # Items of one key and one photo are the product of the first of them.
        keys = encode(draft.strings("_key"))[0]
        joins = np.flatnonzero(keys >= 0)
        pairs = keys[joins].astype(np.int64) * len(photos) + photos[joins]
        _, first, same = np.unique(pairs, return_index=True, return_inverse=True)
        codes = codes.copy()  # what Arrow returns is read-only
        codes[joins] = codes[joins[first]][same]
    products = Products(codes, draft.confidence, names)
    if source.groups is None:
        return products, products
    products = join_copies(
        products, photos, source.groups.largest, fixed=draft.fixed, item_id=draft.item_id
    )
    together = replace(products, codes=source.groups.split_groups(products))
    products = source.groups.final_products(products)
    if inferred := int(((products.confidence > 0.0) & (products.confidence < STATED)).sum()):
        report.note(
            f"the products of {inferred} of {len(draft)} items are inferred from the names of "
            "photos and from copies of photos"
        )
    return products, together


def _report_coverage(source: Source, splits: NDArray[np.int8], report: Report) -> None:
    """Note how many items each split has, and for how many each attribute is known."""
    counts = np.bincount(splits, minlength=len(SPLITS))
    each = ", ".join(f"{split} {count}" for split, count in zip(SPLITS, counts, strict=True))
    report.note(f"splits: {each}")
    for name in source.attributes:
        known = sum(count for count, _ in report.coverage[name].values())
        report.note(f"{name} is known for {known} of {len(splits)} items")


def _some_examples(report: Report) -> str:
    examples = report.to_dict()["examples"]
    return "; ".join(text for texts in examples.values() for text in texts[:2]) or "none"
