"""Sets of the Hugging Face Hub, on small saved copies."""

from pathlib import Path

import datasets
import pytest

from fashret.config import build
from fashret.data.preparation import prepare
from fashret.data.sources import Hub
from fashret.errors import DataError
from support.commands import composed
from support.official_sets import saved
from support.sources import COMMON, balanced, photo, rows


def test_marqo_columns_that_are_all_null(tmp_path: Path) -> None:
    saved(tmp_path / "hub", data={
        "item_ID": [f"{i}" for i in range(12)], "category1": ["WOMEN"] * 12,
        "category2": ["Tees"] * 11 + [None], "category3": [None] * 12,
        "text": ["A cotton tee with a round neckline"] * 12,
    })  # fmt: skip
    for column, category in (("category2", "Tees"), ("category3", "unknown")):
        name = f"data.name={tmp_path / 'hub'}"
        cfg = composed("evaluate", ["data=marqo", name, f"data.columns.category={column}"])
        found = rows(prepare(build(cfg.data), tmp_path / "cache"))
        assert len(found) == 12
        assert found["0"]["category"] == category
        assert found["11"]["category"] == "unknown"
        assert found["0"]["neckline"] == "round"


def test_lookbench_queries_and_gallery_are_who_searches_what(tmp_path: Path) -> None:
    saved(tmp_path / "hub", query={"category": ["dress", "coat"]},
          gallery={"category": ["dress", "coat", "bag"]})  # fmt: skip
    cfg = composed("evaluate", ["data=lookbench", f"data.name={tmp_path / 'hub'}"])
    table = prepare(build(cfg.data), tmp_path / "cache")
    assert table.splits == ("test",)
    assert sorted(table.column("role")) == ["gallery"] * 3 + ["query"] * 2
    assert balanced(table)["rows_in"] == 5


def test_a_saved_hub_set_with_its_own_splits(tmp_path: Path) -> None:
    def part(start: int, count: int) -> datasets.Dataset:
        files = [str(photo(tmp_path / "raw" / f"{i}.png", i)) for i in range(start, start + count)]
        columns = {"image": files, "caption": [f"text {i}" for i in range(start, start + count)]}
        return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())

    saved = tmp_path / "saved"
    datasets.DatasetDict({"train": part(0, 10), "test": part(10, 4)}).save_to_disk(str(saved))
    source = Hub(name=str(saved), attributes=[], columns={"text": "caption"}, **COMMON)
    table = prepare(source, tmp_path)
    found = rows(table)
    assert found["test-0"]["split"] == "test"
    assert found["train-3"]["text"] == "text 3"
    assert sorted(table.splits) == ["test", "train", "validation"]
    assert any("no validation split" in note for note in table.report["notes"])


def test_a_hub_set_that_is_not_there_names_the_way_out(tmp_path: Path) -> None:
    source = Hub(name=str(tmp_path / "nowhere"), attributes=[], columns={}, **COMMON)
    with pytest.raises(DataError, match="save_to_disk"):
        prepare(source, tmp_path)
