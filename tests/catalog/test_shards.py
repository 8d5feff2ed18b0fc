"""Shards of parquet: the items and embeddings of a catalog, whole or not at all."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fashret.catalog import shards as module
from fashret.catalog.shards import write_shards
from fashret.data.embeddings import read_embeddings
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from support.catalogs import build

pytestmark = pytest.mark.run


def test_shards_hold_the_items_with_their_embeddings(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ", 32)
    catalog = build(table, tmp_path)
    folder = tmp_path / "shards"
    written = write_shards(catalog, folder, shard_rows=70)
    assert [path.name for path in written] == [f"shard-0000{i}-of-00005.parquet" for i in range(5)]
    assert [pq.read_metadata(path).num_rows for path in written] == [70, 70, 70, 70, 20]
    read = pq.read_table(folder)
    assert read.column("item_id").to_pylist() == table.column("item_id")
    assert read.column("neckline").to_pylist() == table.column("neckline")
    image = np.stack(read.column("image_embedding").to_pylist())
    assert np.array_equal(image.astype(np.float32), catalog.image.numpy())
    texts = read.column("text_embedding").to_pylist()
    has_text = [text not in ("", None) for text in table.column("text")]
    assert [text is not None for text in texts] == has_text
    # what is written is read as embeddings of others
    found = read_embeddings(str(folder), tmp_path, "key")
    assert list(found.ids) == table.column("item_id")
    assert found.text is not None
    assert np.array_equal(found.image, catalog.image.numpy())
    assert np.array_equal(found.text, catalog.text.numpy())
    # another writing takes the place of the first
    assert len(write_shards(catalog, folder, shard_rows=300)) == 1
    assert [path.name for path in folder.iterdir()] == ["shard-00000-of-00001.parquet"]


def test_nothing_else_is_replaced_and_a_killed_writing_leaves_the_shards(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = build(table, tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"photo")
    with pytest.raises(CatalogError, match=r"catalog.parquet=.*photos holds mine.jpg: choose"):
        write_shards(catalog, tmp_path / "photos")
    (tmp_path / "items.parquet").write_bytes(b"mine")
    with pytest.raises(CatalogError, match=r"items.parquet is a file: choose a new folder"):
        write_shards(catalog, tmp_path / "items.parquet")
    before = write_shards(catalog, tmp_path / "shards")[0].read_bytes()

    def killed(path: Path, tables: object, bar: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            write_shards(catalog, tmp_path / "shards", shard_rows=100)
    assert [path.read_bytes() for path in (tmp_path / "shards").iterdir()] == [before]
    # killed between two renames, and while the former shards were removed
    (tmp_path / "shards").rename(tmp_path / "shards.before")
    with monkeypatch.context() as patch:
        patch.setattr(module, "require_space", full)
        with pytest.raises(OSError, match="No space left"):
            write_shards(catalog, tmp_path / "shards")
    assert [path.read_bytes() for path in (tmp_path / "shards").iterdir()] == [before]
    (tmp_path / "shards.before").mkdir()
    (tmp_path / "shards.before" / "shard-00000-of-00001.parquet").write_bytes(before)
    assert len(write_shards(catalog, tmp_path / "shards", shard_rows=100)) == 3
    monkeypatch.setattr(module, "_write_shard", full)
    with pytest.raises(CatalogError, match="No space left"):
        write_shards(catalog, tmp_path / "shards")


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")
