"""Sets of the Hugging Face Hub, on small saved copies."""

import io
import json
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fashret.config import build
from fashret.data.preparation import prepare, prepared_folder
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


def webdataset(folder: Path, shards: int, each: int) -> Path:
    """Shards of samples: a photo, its text, and a JSON of fields that some samples lack."""
    folder.mkdir()
    for shard in range(shards):
        with tarfile.open(folder / f"train-{shard:05}.tar", "w") as tar:
            for i in range(shard * each, (shard + 1) * each):
                fields = {"category": "dress", "product_id": f"p{i // 2}", "material": "silk"}
                parts = {
                    "jpg": photo(folder.parent / "raw" / f"{i}.jpg", i).read_bytes(),
                    "txt": f"a red dress, number {i}".encode(),
                    "json": json.dumps(fields if i % 3 else {"category": "coat"}).encode(),
                }
                for ending, content in parts.items():
                    info = tarfile.TarInfo(f"{i:05}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return folder


def test_shards_of_a_webdataset_are_read(tmp_path: Path) -> None:
    folder = webdataset(tmp_path / "shards", 3, 10)
    table = prepare(Hub(name=str(folder), attributes=["material"], **COMMON), tmp_path)
    found = rows(table)
    assert sorted(found) == [f"{i:05}" for i in range(30)]
    assert found["00003"]["text"] == "a red dress, number 3"
    assert [found[f"{i:05}"]["category"] for i in range(4)] == ["coat", "dress", "dress", "coat"]
    assert [found[f"{i:05}"]["material"] for i in range(3)] == ["unknown", "silk", "silk"]
    assert found["00004"]["product_id"] == found["00005"]["product_id"] == "p2"
    raw = (tmp_path / "raw" / "4.jpg").read_bytes()
    assert table.photo(table.column("item_id").index("00004")) == raw
    # another photo in a shard is another set
    before = prepared_folder(Hub(name=str(folder), attributes=["material"], **COMMON), tmp_path)
    (folder / "train-00002.tar").unlink()
    assert prepared_folder(Hub(name=str(folder), attributes=["material"], **COMMON), tmp_path) != (
        before
    )


def test_shards_of_parquet_are_read_by_split_and_not_copied(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for split, shard, first in (("train", 0, 0), ("train", 1, 8), ("test", 0, 16)):
        made = [
            photo(tmp_path / "raw" / f"{i}.png", i).read_bytes() for i in range(first, first + 8)
        ]
        ids = [str(first % 16 + i) for i in range(8)]  # those of test begin anew
        columns = {"image": made, "item_id": ids, "text": ["a coat"] * 8}
        pq.write_table(pa.table(columns), folder / f"{split}-{shard:05}-of-00002.parquet")
    table = prepare(Hub(name=str(folder), attributes=[], **COMMON), tmp_path)
    found = rows(table)
    assert len(found) == 24
    assert {name.partition("/")[0] for name in found} == {"train", "test"}
    assert found["test/3"]["split"] == "test"
    assert sorted(table.splits) == ["test", "train", "validation"]


def test_a_shard_that_is_cut_short_is_named(tmp_path: Path) -> None:
    folder = webdataset(tmp_path / "shards", 1, 20)
    whole = (folder / "train-00000.tar").read_bytes()
    (folder / "train-00000.tar").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=rf"data.name={folder} cannot be read to its end"):
        prepare(Hub(name=str(folder), attributes=[], **COMMON), tmp_path)


def test_shards_without_a_plain_column_are_counted(tmp_path: Path) -> None:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["coat", "dress"])}
    )
    (tmp_path / "shards").mkdir()
    for split in ("train", "test"):
        files = [str(photo(tmp_path / "raw" / f"{split}{i}.png", i)) for i in range(9)]
        made = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0] * 3}, features)
        made.to_parquet(str(tmp_path / "shards" / f"{split}-00000-of-00001.parquet"))
    options = COMMON | {"columns": {"category": "label"}, "split_names": {"test": None}}
    table = prepare(Hub(name=str(tmp_path / "shards"), attributes=[], **options), tmp_path)
    assert len(table) == 9
    assert table.report["dropped"] == {"split left out by data.split_names": 9}
    assert set(table.column("category")) == {"coat", "dress"}
