"""Preparation of a source's item table, once, cached under a key of its content."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Value
from datasets.arrow_writer import ArrowWriter

from fashret.cache import mark_used
from fashret.data.file_hashes import contents_digest
from fashret.data.item_splits import splits_of_items
from fashret.data.items import ItemTable
from fashret.data.overrides import Overrides
from fashret.data.photo_checks import ResumeLog, checked_items
from fashret.data.photo_copies import find_copies, join_copies, report_copies
from fashret.data.preparation_report import Report
from fashret.data.product_grouping import STATED
from fashret.data.source import Item, Source
from fashret.data.splits import SPLITS, digest
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
            resume_log = ResumeLog(draft / "whole")
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
    report, overrides = Report(), Overrides.from_source(source)
    features = Features(
        {
            "item_id": Value("string"),
            "image": Image(),
            "text": Value("string"),
            "category": Value("string"),
            **{name: Value("string") for name in source.attributes},
        }
    )
    kept: list[Item] = []
    read_ids: set[str] = set()
    hashes: list[str] = []
    signatures: list[bytes] = []
    draft = str(folder / "draft.arrow")
    with ArrowWriter(path=draft, features=features) as writer:
        for item, encoded, photo_hash, signature in checked_items(source, report, resume_log):
            read_ids.add(item.item_id)
            if not overrides.apply(item, report):
                continue
            source.describe(item, report)
            writer.write(_row(item, encoded, source.attributes, report))
            hashes.append(photo_hash)
            signatures.append(signature)
            item.image = b""  # only what determines products and splits stays in memory
            kept.append(item)
        if not kept:
            raise DataError(
                f"no item of data '{source.name}' can be used: {report.summary()}; "
                f"examples: {_some_examples(report)}"
            )
        writer.finalize()
    report.rows_kept = len(kept)
    if missing := sorted(overrides.rows.keys() - read_ids):
        first = ", ".join(missing[:5])
        report.note(f"{overrides.path}: {len(missing)} of its items are not in the data: {first}")
        log.warning("%s", report.notes[-1])
    photos = find_copies(hashes, signatures)
    products = _products(source, kept, [hashes[row] for row in photos])
    confidences = [item.product_confidence for item in kept]
    item_ids, groups = [item.item_id for item in kept], products
    if source.groups is not None:
        by_hand = ["product_id" in item.by_hand for item in kept]
        products, confidences = join_copies(
            item_ids, products, confidences, photos, source.groups.largest, fixed=by_hand
        )
        groups = source.groups.split_groups(products, confidences)
        final = source.groups.final_products(products, confidences)
        products, confidences = [p for p, _ in final], [c for _, c in final]
        inferred = sum(0.0 < confidence < STATED for confidence in confidences)
        if inferred:
            report.note(
                f"the products of {inferred} of {len(kept)} items are inferred from the names of "
                "photos and from copies of photos"
            )
    splits = splits_of_items(source, kept, groups, report)
    report_copies(item_ids, products, splits, photos, report)

    table = Dataset.from_file(draft)
    table = table.add_column("product_id", products, feature=Value("string"))
    table = table.add_column("product_confidence", confidences, feature=Value("float32"))
    table = table.add_column("photo_hash", hashes, feature=Value("string"))
    table = table.add_column("photo", photos.tolist(), feature=Value("int64"))
    table = table.add_column("split", splits, feature=Value("string"))
    if any(item.role for item in kept):
        roles = [item.role for item in kept]
        table = table.add_column("role", roles, feature=Value("string"))
    if any(item.truth for item in kept):
        truth = pa.Table.from_pylist([{"item_id": i.item_id, **i.truth} for i in kept])
        pq.write_table(truth, folder / "truth.parquet")
    order = np.argsort([SPLITS.index(split) for split in splits], kind="stable")
    table.select(order).save_to_disk(str(folder / "table"))
    os.unlink(draft)
    _report_coverage(source, kept, splits, report)
    return report


def _row(item: Item, encoded: bytes, attributes: Sequence[str], report: Report) -> dict[str, Any]:
    """Make a row of the table from an item."""
    text = " ".join(item.text.split())
    if text != item.text:
        report.repair("white space in text", item.origin or item.item_id)
    values = {name: item.attributes.get(name) or "unknown" for name in attributes}
    return {
        "item_id": item.item_id,
        "image": {"bytes": encoded, "path": None},
        "text": text,
        "category": item.category or "unknown",
        **values,
    }


def _products(source: Source, items: list[Item], hashes: list[str]) -> list[str | None]:
    """Find the product of each item, joining products by the source's `join_key`."""
    first: dict[Any, str | None] = {}
    products = []
    for item, photo_hash in zip(items, hashes, strict=True):
        key = None if "product_id" in item.by_hand else source.join_key(item, photo_hash)
        product = item.product_id
        products.append(product if key is None else first.setdefault(key, product))
    return products


def _report_coverage(source: Source, items: list[Item], splits: list[str], report: Report) -> None:
    """Note how many items each split has, and for how many each attribute is known."""
    counts = ", ".join(f"{split} {splits.count(split)}" for split in SPLITS)
    report.note(f"splits: {counts}")
    for name in source.attributes:
        known = 0
        for item in items:
            is_known = (item.attributes.get(name) or "unknown") != "unknown"
            report.cover(name, item.category, known=is_known)
            known += is_known
        report.note(f"{name} is known for {known} of {len(items)} items")


def _some_examples(report: Report) -> str:
    examples = report.to_dict()["examples"]
    return "; ".join(text for texts in examples.values() for text in texts[:2]) or "none"
