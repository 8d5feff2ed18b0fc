"""Preparation: once for each source, and on from where it was killed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fashret.data import photo_checks as reading
from fashret.data.photos import decode_photo
from fashret.data.preparation import prepare
from fashret.data.source import Source
from fashret.data.sources import FashionProducts, Sample
from fashret.errors import DataError
from support.sources import COMMON, balanced, folder, photo


def test_a_set_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no photo"):
        prepare(folder(empty), tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        prepare(folder(tmp_path / "none"), tmp_path)
    (empty / "1.jpg").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"no item .* can be used: .* corrupt photo"):
        prepare(folder(empty), tmp_path)
    photo(empty / "1.jpg")
    with pytest.raises(DataError, match="has no item in split"):
        prepare(folder(empty), tmp_path)
    assert not list((tmp_path / "data").glob("*[!k]/report.json"))  # nothing half made


def sample(**changes: Any) -> Source:
    options: dict[str, Any] = {"name": "s", "products": 48, "views": 2, **COMMON} | changes
    return Sample(attributes=["neckline"], **options)


def test_a_table_is_prepared_once_and_again_when_its_source_changes(tmp_path: Path) -> None:
    first = prepare(sample(), tmp_path)
    stamp = (first.folder / "report.json").stat().st_mtime_ns
    assert (prepare(sample(), tmp_path).folder / "report.json").stat().st_mtime_ns == stamp
    assert prepare(sample(seed=1), tmp_path).key != first.key
    root = tmp_path / "photos"
    for i in range(10):
        photo(root / "a" / f"{i}.jpg", i)
    before = prepare(folder(root), tmp_path).key
    photo(root / "a" / "10.jpg")
    assert prepare(folder(root), tmp_path).key != before


def test_a_killed_preparation_decodes_nothing_twice(
    products: FashionProducts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(encoded: bytes) -> Image.Image:
        decoded.append(hashlib.blake2b(encoded, digest_size=16).hexdigest())
        return decode_photo(encoded)

    monkeypatch.setattr(reading, "decode_photo", counted)
    monkeypatch.setattr(reading, "_PART", 4)
    described = FashionProducts.describe
    left = iter(range(9))

    def killed(self: Source, item: Any, report: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        described(self, item, report)

    monkeypatch.setattr(FashionProducts, "describe", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(products, tmp_path)
    journal = next(tmp_path.glob("data/*.partial/checked_photos"))
    known = {line.split()[0] for line in journal.read_text().splitlines()}
    with journal.open("a") as file:
        file.write("torn0123 4567")  # the line that it was killed in
        file.write("\0" * 1000)  # what a loss of power leaves
    assert len(known) >= 8
    assert known <= set(decoded)
    decoded.clear()
    monkeypatch.setattr(FashionProducts, "describe", described)
    table = prepare(products, tmp_path)
    assert decoded
    assert not known & set(decoded)
    assert not list(tmp_path.glob("data/*.partial"))
    assert not (table.folder / "checked_photos").exists()
    uninterrupted = prepare(products, tmp_path / "elsewhere")
    assert table.photo_codes.tolist() == uninterrupted.photo_codes.tolist()
    balanced(table)


def test_report_json_is_plain_json(tmp_path: Path) -> None:
    table = prepare(sample(), tmp_path)
    assert json.loads((table.folder / "report.json").read_text())["rows_in"] == 96
