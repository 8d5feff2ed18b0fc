"""Fashion IQ, on a small copy of its layout with its quirks in it."""

from pathlib import Path

from support.official_sets import Prepare, fashioniq
from support.sources import balanced, rows


def test_fashioniq_quirks(tmp_path: Path, made: Prepare) -> None:
    fashioniq(tmp_path / "set")
    table = made("fashioniq")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"corrupt photo": 1, "missing photo": 1}  # F and H
    assert {"dress/C", "shirt/C"} < set(found)  # a photo in two kinds is in both galleries
    assert found["dress/B"]["text"] == "is red and has longer sleeves"
    assert found["dress/B"]["split"] == "train"  # a .png
    assert found["dress/C"]["split"] == "validation"
    assert found["dress/T"]["split"] == "test"
    assert found["dress/T"]["text"] == ""
