"""The item table: one row an item, prepared once, cached under a key of its content."""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Value, load_from_disk
from datasets.arrow_writer import ArrowWriter
from filelock import FileLock
from numpy.typing import NDArray
from tqdm.auto import tqdm

from fashret.data.groups import STATED
from fashret.data.overrides import Overrides
from fashret.data.photos import decode_photo, read_photo
from fashret.data.report import Report
from fashret.data.source import SPLITS, Item, Source
from fashret.data.splits import assign_splits, digest
from fashret.errors import DataError

log = logging.getLogger(__name__)

_FORMAT = 4
_PART = 64
"""Photos that a thread reads and checks at a time."""

UNKNOWN_VALUES = ("", "unknown")


class ItemTable:
    """A prepared set of items: rows ordered train, validation, test.

    Args:
        folder: what `prepare` wrote.
        attributes: the attribute columns.
    """

    def __init__(self, folder: Path, attributes: Sequence[str]) -> None:
        self.folder = folder
        self.attributes = tuple(attributes)
        self.dataset = load_from_disk(str(folder / "table"))
        self.key = folder.name

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def report(self) -> dict[str, Any]:
        """What preparation counted."""
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report

    @property
    def described(self) -> tuple[str, ...]:
        """The columns whose values can be matched: the category and the attributes."""
        return ("category", *self.attributes)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that hold items."""
        return tuple(split for split in SPLITS if len(self.rows(split)))

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split, ascending."""
        return np.flatnonzero(self._split_codes == SPLITS.index(split)).astype(np.int64)

    def column(self, name: str) -> list[Any]:
        """A column's values, row by row. Photos are `photo`'s."""
        values: list[Any] = self.dataset.data.column(name).to_pylist()
        return values

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column as codes into its sorted distinct values.

        Returns:
            (N,) codes, -1 where the value is null, empty or `unknown`; and the values.
        """
        return _encode(self.dataset.data.column(name))

    def products(self, min_confidence: float = 0.0) -> NDArray[np.int64]:
        """(N,) codes of the product ids, -1 where there is none or it is less sure."""
        codes = self.codes("product_id")[0]
        return np.where(self.confidence < min_confidence, -1, codes)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) how sure the product of each row is."""
        stored = self.dataset.data.column("product_confidence").to_numpy()
        return np.array(stored, dtype=np.float32)  # a copy: what is stored cannot be written to

    def photo(self, row: int) -> bytes:
        """The encoded photo of a row."""
        encoded: bytes = self._photos[int(row)].as_py()
        return encoded

    @cached_property
    def _photos(self) -> pa.ChunkedArray:
        return pc.struct_field(self.dataset.data.column("image"), "bytes")

    @cached_property
    def _split_codes(self) -> NDArray[np.int64]:
        return np.array([SPLITS.index(split) for split in self.column("split")])


def prepare(source: Source, cache_dir: Path) -> ItemTable:
    """The item table of a source: from the cache, or made now.

    Two runs that want the same table wait for one another; a run that is killed leaves nothing
    that the next would take for a table, but the next need not decode again what it had decoded.

    Raises:
        DataError: the source cannot be read, no photo of it is usable, or a split is empty.
    """
    folder = prepared_folder(source, cache_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            draft = folder.with_name(f"{folder.name}.partial")
            draft.mkdir(exist_ok=True)
            journal = _Journal(draft / "whole")
            report = _write_table(source, draft, journal)
            (draft / "report.json").write_text(json.dumps(report.to_dict(), indent=2))
            journal.close()
            draft.rename(folder)
            log.info("prepared %s: %s", source.name, report.summary())
            log.info("its report: %s", folder / "report.json")
    return ItemTable(folder, source.attributes)


def prepared_folder(source: Source, cache_dir: Path) -> Path:
    """Where the cache has the item table of a source, or will have it."""
    key = digest(
        [
            _FORMAT,
            type(source).__name__,
            source.identity(),
            list(source.attributes),
            dict(source.splits),
            source.split_seed,
            None if source.schema is None else asdict(source.schema),
            None if source.groups is None else source.groups.identity(),
            *Overrides.of(source).identity(),
        ]
    )
    return cache_dir / "data" / f"{source.label}-{key}"


class _Journal:
    """Which photos were found whole, by their bytes: a preparation that was killed goes on there.

    Args:
        path: a file that is added to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = set(path.read_text().split()) if path.exists() else set()
        if self.known:
            log.info("going on: %d photos are known to be whole", len(self.known))
        self._file = path.open("a")

    def add(self, hashes: Iterable[str]) -> None:
        """Photos that were found whole."""
        self._file.writelines(f"{found}\n" for found in hashes)
        self._file.flush()

    def close(self) -> None:
        """The table is whole: nothing goes on from here."""
        self._file.close()
        self.path.unlink()


def _write_table(source: Source, folder: Path, journal: _Journal) -> Report:
    """Read, check and split the items; write them as `folder/table`."""
    report, overrides = Report(), Overrides.of(source)
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
    met: set[str] = set()
    hashes: list[str] = []
    draft = str(folder / "draft.arrow")
    with ArrowWriter(path=draft, features=features) as writer:
        for item, encoded, photo_hash in _checked(source, report, journal):
            met.add(item.item_id)
            if not overrides.apply(item, report):
                continue
            source.describe(item, report)
            writer.write(_row(item, encoded, source.attributes, report))
            hashes.append(photo_hash)
            item.image = b""  # only what decides products and splits is held
            kept.append(item)
        if not kept:
            raise DataError(
                f"no item of data '{source.name}' can be used: {report.summary()}; "
                f"examples: {_some_examples(report)}"
            )
        writer.finalize()
    report.rows_kept = len(kept)
    if strangers := sorted(overrides.rows.keys() - met):
        first = ", ".join(strangers[:5])
        report.note(f"{overrides.path}: {len(strangers)} of its items are not here: {first}")
        log.warning("%s", report.notes[-1])
    products = _products(source, kept, hashes)
    splits = _splits(source, kept, products, report)
    confidences = [item.product_confidence for item in kept]
    if source.groups is not None:
        settled = source.groups.settled(products, confidences)
        products, confidences = [p for p, _ in settled], [c for _, c in settled]
        told = sum(0.0 < confidence < STATED for confidence in confidences)
        if told:
            report.note(f"products of {told} of {len(kept)} items are told by photos' names")

    table = Dataset.from_file(draft)
    table = table.add_column("product_id", products, feature=Value("string"))
    table = table.add_column("product_confidence", confidences, feature=Value("float32"))
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


def _checked(
    source: Source, report: Report, journal: _Journal
) -> Iterator[tuple[Item, bytes, str]]:
    """The items that have a whole photo and an id of their own, with its bytes and their hash."""
    seen: set[str] = set()
    items = source.items(report)
    stream = tqdm(items, desc=f"preparing {source.name}", unit=" items", smoothing=0.05)
    for part, loaded in _read_ahead(iter(stream), journal.known):
        journal.add(
            found[1]
            for found in loaded
            if not isinstance(found, DataError) and found[1] not in journal.known
        )
        for item, found in zip(part, loaded, strict=True):
            where = item.origin or item.item_id
            if isinstance(found, DataError):
                missing = isinstance(item.image, Path) and not item.image.exists()
                report.drop("missing photo" if missing else "corrupt photo", f"{where}: {found}")
            elif item.item_id in seen:
                report.drop("duplicate item_id", f"{where}: {item.item_id}")
            else:
                seen.add(item.item_id)
                yield item, *found


_Loaded = list[tuple[bytes, str] | DataError]


def _read_ahead(items: Iterator[Item], known: Set[str]) -> Iterator[tuple[list[Item], _Loaded]]:
    """Items in order with their photos, which threads read and check while others are stored."""
    cores = os.cpu_count() or 1
    waiting: deque[tuple[list[Item], Future[_Loaded]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        while part := list(islice(items, _PART)):
            waiting.append((part, pool.submit(_load_all, part, known)))
            if len(waiting) > 2 * cores:
                part, loaded = waiting.popleft()
                yield part, loaded.result()
        for part, loaded in waiting:
            yield part, loaded.result()


def _load_all(items: Sequence[Item], known: Set[str]) -> _Loaded:
    return [_load(item, known) for item in items]


def _load(item: Item, known: Set[str]) -> tuple[bytes, str] | DataError:
    """An item's photo and the hash of its bytes if it decodes, else why not.

    Args:
        item: whose photo.
        known: hashes of photos that decode.
    """
    try:
        encoded = item.image if isinstance(item.image, bytes) else read_photo(item.image)
        found = hashlib.blake2b(encoded, digest_size=16).hexdigest()
        if found not in known:
            decode_photo(encoded)
    except DataError as e:
        return e
    return encoded, found


def _row(item: Item, encoded: bytes, attributes: Sequence[str], report: Report) -> dict[str, Any]:
    """An item as a row of the table."""
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
    """The product of each item, with those joined that the source takes for one product."""
    first: dict[Any, str | None] = {}
    products = []
    for item, photo_hash in zip(items, hashes, strict=True):
        key = None if "product_id" in item.by_hand else source.join_key(item, photo_hash)
        product = item.product_id
        products.append(product if key is None else first.setdefault(key, product))
    return products


def _splits(
    source: Source, items: list[Item], products: list[str | None], report: Report
) -> list[str]:
    """The split of each item: the set's own, or a cut between groups of products."""
    groups = [
        item.split_group or product or item.item_id
        for item, product in zip(items, products, strict=True)
    ]
    own = [item.split for item in items]
    if None in own:
        if any(own):
            where = items[own.index(None)]
            raise DataError(
                f"data '{source.name}': {where.origin or where.item_id} has no split, others have"
            )
        chosen = assign_splits(groups, source.splits, source.split_seed)
        splits = [chosen[group] for group in groups]
    else:
        splits = [str(split) for split in own]
        if "validation" not in splits and "train" in splits:
            splits = _carve_validation(source, groups, splits)
            report.note("the set has no validation split: one was taken from train, by product")
    for split in SPLITS:
        asked = None in own and source.splits.get(split, 0.0) > 0.0
        if split not in splits and (asked or (split == "validation" and "train" in splits)):
            raise DataError(
                f"data '{source.name}' has no item in split {split}: {len(items)} items of "
                f"{len(set(groups))} products, data.splits={dict(source.splits)}"
            )
    return splits


def _carve_validation(source: Source, groups: list[str], splits: list[str]) -> list[str]:
    """Move a share of the training products to validation."""
    share = source.splits.get("validation", 0.0)
    training = [g for g, split in zip(groups, splits, strict=True) if split == "train"]
    shares = {"train": 1.0 - share, "validation": share}
    chosen = assign_splits(training, shares, source.split_seed)
    return [
        chosen[group] if split == "train" else split
        for group, split in zip(groups, splits, strict=True)
    ]


def _report_coverage(source: Source, items: list[Item], splits: list[str], report: Report) -> None:
    """Say how many items each split has and how many state each attribute."""
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
    return "; ".join(example for found in examples.values() for example in found[:2]) or "none"


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of a string column; see `ItemTable.codes`."""
    unknown = pc.is_in(column, value_set=pa.array(UNKNOWN_VALUES))
    known = pc.if_else(unknown, pa.scalar(None, pa.string()), column)
    values = sorted(value for value in pc.unique(known).to_pylist() if value is not None)
    codes = pc.index_in(known, value_set=pa.array(values, pa.string()))
    return pc.fill_null(codes, -1).to_numpy().astype(np.int64), values
