"""Embeddings that others computed: every form that they are exported in, and every fault."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from fashret.data.embeddings import (
    embeddings_files,
    has_text_embeddings,
    is_export,
    read_embeddings,
)
from fashret.errors import DataError
from fashret.models.spec import ModelSpec

IDS = ["007", "b", "c", "12345678901234567890"]
IMAGE = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
TEXT = IMAGE[::-1].copy()
FLOATS = pa.list_(pa.float32())


def arrays(folder: Path, *names: str, ids: str) -> Path:
    folder.mkdir()
    for name, array in zip(names, (IMAGE, TEXT), strict=False):
        np.save(folder / name, array)
    file = folder / ids
    if ids.endswith(".parquet"):
        pq.write_table(pa.table({"item_id": IDS, "category": ["x"] * 4}), file)
    elif ids.endswith(".json"):
        file.write_text(json.dumps(IDS))
    elif ids.endswith(".npy"):
        np.save(file, np.array(IDS))
    elif ids.endswith(".csv"):
        file.write_text("item_id,name\n" + "".join(f"{each},x\n" for each in IDS))
    else:
        file.write_text("\n".join(IDS) + "\n")
    return folder


def table(**columns: object) -> pa.Table:
    return pa.table({"id": IDS} | columns)


def parquet(path: Path) -> Path:
    pq.write_table(table(image_embedding=list(IMAGE), title_embedding=list(TEXT)), path)
    return path


def jsonl(path: Path) -> Path:
    rows = [
        {"sku": each, "vector": one.tolist(), "text_vector": two.tolist()}
        for each, one, two in zip(IDS, IMAGE, TEXT, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parts(folder: Path) -> Path:
    """A folder of parquet files, as sharded exports are."""
    folder.mkdir()
    whole = table(embedding=list(IMAGE), text=list(TEXT))
    pq.write_table(whole.slice(0, 3), folder / "0.parquet")
    pq.write_table(whole.slice(3), folder / "1.parquet")
    return folder


def saved(folder: Path) -> Path:
    rows = {"item_id": IDS, "img": IMAGE.tolist(), "caption_emb": TEXT.tolist()}
    Dataset.from_dict(rows).save_to_disk(str(folder))
    return folder


def script_pipeline(path: Path) -> Path:
    return arrays(path, "catalog_img.npy", "catalog_txt.npy", ids="catalog_meta.parquet")


def splits(folder: Path) -> Path:
    """A saved data set of two splits."""
    rows = {"item_id": IDS, "img": IMAGE.tolist(), "text_emb": TEXT.tolist()}
    whole = Dataset.from_dict(rows)
    DatasetDict(train=whole.select([0, 1, 2]), test=whole.select([3])).save_to_disk(str(folder))
    return folder


BOTH: dict[str, Callable[[Path], Path]] = {
    "catalog": script_pipeline,
    "named": lambda path: arrays(path, "image.npy", "text.npy", ids="ids.txt"),
    "csv": lambda path: arrays(path, "img.npy", "txt.npy", ids="ids.csv"),
    "npy": lambda path: arrays(path, "vectors.npy", "text.npy", ids="ids.npy"),
    "list.parquet": parquet,
    "lines.jsonl": jsonl,
    "parts": parts,
    "hugging_face": saved,
    "splits": splits,
}


@pytest.mark.parametrize("name", BOTH)
def test_every_form_is_read(name: str, tmp_path: Path) -> None:
    path = BOTH[name](tmp_path / name)
    for _ in range(2):  # the second time from the cache
        found = read_embeddings(str(path), tmp_path / "cache", "key")
        assert list(found.ids) == IDS
        assert np.allclose(found.image, IMAGE)
        assert found.text is not None
        assert np.allclose(found.text, TEXT)
    assert has_text_embeddings(str(path))
    assert len(embeddings_files(str(path))) >= 1
    assert is_export(path) == (name not in ("parts", "hugging_face", "splits"))


def test_vectors_of_one_kind_are_those_of_the_items(tmp_path: Path) -> None:
    only_text = tmp_path / "text.parquet"
    pq.write_table(table(text_embedding=list(TEXT)), only_text)
    photos = arrays(tmp_path / "photos", "embeddings.npy", ids="ids.json")
    for path, expected in ((only_text, TEXT), (photos, IMAGE)):
        found = read_embeddings(str(path), tmp_path / "cache", path.stem)
        assert np.allclose(found.image, expected)
        assert found.text is None
        assert not has_text_embeddings(str(path))


def test_an_item_without_a_text_has_a_vector_of_zeros(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    texts = [TEXT[0].tolist(), None, TEXT[2].tolist(), []]
    pq.write_table(table(image=list(IMAGE), text=texts), path)
    found = read_embeddings(str(path), tmp_path / "cache", "key")
    assert found.text is not None
    assert np.allclose(found.text, [TEXT[0], [0, 0, 0], TEXT[2], [0, 0, 0]])


def test_rows_are_found_by_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read_embeddings(str(script_pipeline(tmp_path / "a")), tmp_path, "key")
    caplog.set_level("INFO")
    assert found.rows_of(["c", "007"], "here").tolist() == [2, 0]
    assert "here: 2 embeddings are of no item of the data" in caplog.text
    found.image[1] = 0.0
    with pytest.raises(DataError, match=r"here lacks the vectors of 1 of 2 items: b; it has 4 ids"):
        found.rows_of(["c", "b"], "here")
    with pytest.raises(DataError, match=r"here lacks the vectors of 2 of 3 items: 7, d;"):
        found.rows_of(["7", "c", "d"], "here")


def broken(tmp_path: Path, **columns: object) -> str:
    path = tmp_path / "broken.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_faults_are_named(tmp_path: Path) -> None:
    vectors, cache = list(IMAGE), tmp_path / "cache"
    nan = IMAGE.copy()
    nan[1, 2] = np.nan
    nan[3, 0] = np.inf
    cases: list[tuple[dict[str, object], str]] = [
        ({"name": IDS, "v": vectors}, r"no column of ids \(item_id, id, .*it has name, v"),
        ({"id": IDS, "v": [1.0] * 4}, r"columns of vectors: none of id, v"),
        ({"id": IDS, "v": vectors, "w": vectors}, r"columns of vectors: v, w of id, v, w"),
        ({"id": ["a", "b", "a", "c"], "v": vectors}, "the id a stands there twice"),
        ({"id": IDS, "v": list(nan)}, "vectors of 2 photos contain NaN or Inf: b, 1234"),
        ({"id": IDS, "v": [[1.0], [1.0], [1.0, 2.0], [1.0]]}, "differ in length: 007 has 1, "),
        ({"id": IDS, "v": pa.array([[], [], [], None], FLOATS)}, "v has no vectors"),
        ({"id": IDS, "v": vectors, "text": [[1.0]] * 4}, "photos have 3 dimensions, texts 1"),
    ]
    for number, (columns, message) in enumerate(cases):
        with pytest.raises(DataError, match=message):
            read_embeddings(broken(tmp_path, **columns), cache, str(number))
    folder = arrays(tmp_path / "short", "image.npy", ids="ids.txt")
    (folder / "ids.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="4 vectors of photos, 2 ids"):
        read_embeddings(str(folder), cache, "a")
    np.save(folder / "image.npy", np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"image.npy cannot be read as an array of numbers"):
        read_embeddings(str(folder), cache, "b")
    np.save(folder / "image.npy", np.arange(4))
    with pytest.raises(DataError, match=r"array of int64 of shape \(4,\): expected floats"):
        read_embeddings(str(folder), cache, "c")
    (folder / "image.npy").unlink()
    np.save(folder / "other.npy", IMAGE)
    with pytest.raises(DataError, match=r"expected catalog_img.npy .*it has ids.txt, other.npy"):
        read_embeddings(str(folder), cache, "d")
    for name in ("nothing.parquet", "hf:"):
        with pytest.raises(DataError, match=f"={name} cannot be read|no such folder"):
            read_embeddings(name, cache, "e")
    text = tmp_path / "broken.jsonl"
    text.write_text('{"id": "a", "vector": [1.0\n')
    with pytest.raises(DataError, match=r"broken.jsonl cannot be read"):
        read_embeddings(str(text), cache, "f")
    assert not list(cache.glob("embeddings/*/ids.json")) or all(
        (p.parent / "catalog_img.npy").exists() for p in cache.glob("embeddings/*/ids.json")
    )


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / "set" / name).mkdir(parents=True)
        parquet(tmp_path / "set" / name / "0.parquet")
    spec = ModelSpec().over_embeddings(str(tmp_path / "set"))
    before = spec.identity(tmp_path)
    assert len(before["embeddings"]) == 2
    pq.write_table(table(v=list(IMAGE + 1)), tmp_path / "set" / "test" / "0.parquet")
    assert spec.identity(tmp_path) != before


def test_an_updated_catalog_is_read_in_its_current_version(tmp_path: Path) -> None:
    folder = script_pipeline(tmp_path / "a")
    (folder / "version-2").mkdir()
    for name, array in (("catalog_img.npy", IMAGE + 1), ("catalog_txt.npy", TEXT + 1)):
        np.save(folder / "version-2" / name, array)
    (folder / "catalog_meta.parquet").rename(folder / "version-2" / "catalog_meta.parquet")
    (folder / "manifest.json").write_text('{"version": 2}')
    found = read_embeddings(str(folder), tmp_path, "key")
    assert np.allclose(found.image, IMAGE + 1)
    assert list(found.ids) == IDS
