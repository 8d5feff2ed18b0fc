"""The draft of a table: what a preparation holds does not grow with the rows."""

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fashret.data import draft
from fashret.data.draft import SeenIds
from fashret.data.preparation import prepare
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source


class ManyRows(Source):
    """Rows with ids, products and texts of their own, over a few photos."""

    count = 0

    def identity(self) -> dict[str, Any]:
        return {"count": self.count}

    def items(self, report: Report) -> Iterator[Item]:
        photos = []
        for seed in range(20):
            pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            photos.append(file.getvalue())
        for number in range(self.count):
            report.rows_in += 1
            yield Item(
                item_id=f"item-{number:08}",
                image=photos[number % 20],
                text=f"a dress with the number {number:08}",
                product_id=f"product-{number // 3:08}",
                attributes={"colour": "red"},
            )


def peak(count: int, folder: Path) -> int:
    """Bytes of Python's and NumPy's objects that preparing some rows holds at most."""
    source = ManyRows(attributes=["colour"], schema=None)
    source.count = count
    tracemalloc.start()
    try:
        assert len(prepare(source, folder)) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.run
def test_memory_grows_by_few_bytes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item in memory has over 1,000 bytes; 200 are 2 GB for ten million rows."""
    monkeypatch.setattr(draft, "_BATCH_BYTES", 1 << 20)
    peak(2000, tmp_path / "first")  # imports and caches
    few, many = peak(4000, tmp_path / "few"), peak(16_000, tmp_path / "many")
    assert (many - few) / 12_000 < 200


def test_ids_are_seen_once_each() -> None:
    seen = SeenIds()
    ids = [f"{number}" for number in range(20_000)]
    assert all(seen.add(item_id) for item_id in ids)
    assert not any(seen.add(item_id) for item_id in ids)
    assert seen.add("20000")


def test_hashes_are_told_apart_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash is no other one's end and the next one's beginning."""
    monkeypatch.setattr(draft, "_BUCKETS", 1)
    hashes = {"a": b"\0" * 8 + b"\1" * 8, "b": b"\2" * 8 + b"\0" * 8, "c": b"\1" * 8 + b"\2" * 8}

    class Hash:
        def __init__(self, text: bytes, **_: int) -> None:
            self.digest = lambda: hashes[text.decode()]

    monkeypatch.setattr(draft.hashlib, "blake2b", Hash)
    seen = SeenIds()
    assert [seen.add(name) for name in ("a", "b", "c", "a", "c")] == [
        True, True, True, False, False,
    ]  # fmt: skip
