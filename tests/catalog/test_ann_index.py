"""Approximate indexes: what they miss, that scores are exact, and what the manifest says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fashret
from fashret.catalog.ann_index import (
    KINDS,
    AnnIndex,
    ensure_index,
    index_file,
    index_kind,
    measure,
    rescored,
)
from fashret.catalog.folder import Catalog, open_catalog, verify
from fashret.errors import CatalogError, ConfigError
from fashret.functional.topk import topk
from support.commands import Run


def clustered(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors in clusters, in a narrow cone as real embeddings are."""
    centres = np.random.default_rng(99).standard_normal((40, dim)) + 1.5
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal((count, dim)) * np.linspace(1.5, 0.1, dim)
    vectors = centres[rng.integers(0, 40, count)] + spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def held(folder: Path, image: np.ndarray) -> Catalog:
    """A catalog of these photos, of which nothing else is there."""
    catalog = Catalog(folder, {"count": len(image), "key": "k"})
    vars(catalog)["image"] = torch.from_numpy(image)
    return catalog


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    return clustered(5000, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_hold_most_of_the_true_neighbours(
    kind: str, items: np.ndarray, tmp_path: Path
) -> None:
    index = AnnIndex.build(kind, items)
    queries = torch.from_numpy(clustered(100, 64, seed=1))  # off the data
    gallery = torch.from_numpy(items)
    exact = topk(queries, gallery, 10)
    found = 0
    for query, rows, scores in zip(queries, exact.rows, exact.scores, strict=True):
        near = rescored(index, query[None], gallery, 10)
        assert len(near) == len(set(near)) == 10
        inner = [float(gallery[row].double() @ query.double()) for row in near]
        assert inner == sorted(inner, reverse=True)
        assert max(inner) <= float(scores[0]) + 1e-9
        found += len(set(near) & set(rows.tolist()))
    assert found / 1000 >= 0.95
    catalog = held(tmp_path, items)
    index.save(index_file(catalog, kind))
    again = AnnIndex.open(catalog, kind)
    assert len(again) == 5000
    some = queries[:5].numpy()
    assert np.array_equal(again.candidates(some, 50), index.candidates(some, 50))


def test_quantised_vectors_take_a_share_of_the_bytes(items: np.ndarray, tmp_path: Path) -> None:
    sizes = {}
    for kind in KINDS:
        path = tmp_path / kind
        AnnIndex.build(kind, items).save(path)
        sizes[kind] = path.stat().st_size / items.nbytes
    assert sizes["int8"] == pytest.approx(1 / 4, rel=0.05)
    # One bit for each float of 32, 8 bytes of factors, and the rotation of 64 x 64 floats.
    assert sizes["binary"] == pytest.approx(1 / 32 + 8 / 256 + 64 * 64 * 4 / items.nbytes, rel=0.05)
    assert sizes["ivfpq"] < 1 / 4
    assert sizes["hnsw"] > 1


def test_few_items_have_an_index_too() -> None:
    few = clustered(7, 16)
    with pytest.raises(ConfigError, match=r"ivfpq: 7 items are too few .* use int8"):
        AnnIndex.build("ivfpq", few)
    for kind in ("hnsw", "int8", "binary"):
        index = AnnIndex.build(kind, few)
        near = rescored(index, torch.from_numpy(few[:1]), torch.from_numpy(few), 10)
        assert near[0] == 0
        assert set(near) <= set(range(7))


def test_recall_is_counted_against_the_exact_search(tmp_path: Path) -> None:
    """An index that proposes the true neighbours has recall 1, one that proposes others 0."""
    image = torch.from_numpy(clustered(200, 16))
    catalog = Catalog(tmp_path, {"count": 200})
    vars(catalog)["image"], vars(catalog)["text"] = image, torch.roll(image, 1, 0)

    class Exact:
        oversample = 10

        def candidates(self, queries: np.ndarray, count: int) -> np.ndarray:
            return topk(torch.from_numpy(queries), image, count).rows.numpy()

    class Worst:
        oversample = 1

        def candidates(self, queries: np.ndarray, count: int) -> np.ndarray:
            scores = queries @ image.numpy().T
            return np.argsort(scores, axis=1)[:, :20]

    assert measure(Exact(), catalog)["recall"] == {"text": 1.0, "photo": 1.0}
    assert measure(Worst(), catalog)["recall"] == {"text": 0.0, "photo": 0.0}
    vars(catalog)["text"] = torch.zeros(200, 16)
    assert measure(Exact(), catalog)["queries"] == {"photo": 200}


def test_what_cannot_be_built_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"catalog.index=best: must be exact, hnsw, ivfpq, int8"):
        AnnIndex.build("best", clustered(10, 8))
    catalog = held(tmp_path, clustered(10, 8))
    path = index_file(catalog, "hnsw")
    path.write_bytes(b"nothing of faiss")
    with pytest.raises(CatalogError, match=r"no index of the kind hnsw: build it again"):
        AnnIndex.open(catalog, "hnsw")
    path.write_bytes(b"IHNf and nothing more")
    with pytest.raises(CatalogError, match=r"cannot be read.*build it again with .*index=hnsw"):
        AnnIndex.open(catalog, "hnsw")
    AnnIndex.build("int8", clustered(10, 8)).save(path)
    with pytest.raises(CatalogError, match=r"no index of the kind hnsw"):
        AnnIndex.open(catalog, "hnsw")
    AnnIndex.build("hnsw", clustered(10, 16)).save(path)
    with pytest.raises(CatalogError, match=r"of 10 x 16 embeddings, the catalog of 10 x 8"):
        AnnIndex.open(catalog, "hnsw")


@pytest.mark.run
@pytest.mark.parametrize("kind", ["hnsw", "binary"])
def test_a_catalog_with_an_index_finds_what_the_exact_search_finds(
    run: Run, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, indexed = run.at("exact"), run.at("indexed")
    run("build_catalog", f"catalog.dir={exact}")
    run("build_catalog", f"catalog.dir={indexed}", f"catalog.index={kind}")
    assert f"index {kind}: recall@10 " in capsys.readouterr().out
    catalog = open_catalog(indexed)
    entry = catalog.manifest["index"]
    assert entry["kind"] == index_kind(catalog) == kind
    assert entry["recall"]["text"] > 0.9
    assert entry["recall"]["photo"] > 0.9
    assert entry["bytes"] == index_file(catalog, kind).stat().st_size
    asked: list[int] = []
    candidates = AnnIndex.candidates

    def counting(self: AnnIndex, queries: np.ndarray, count: int) -> np.ndarray:
        asked.append(count)
        return candidates(self, queries, count)

    monkeypatch.setattr(AnnIndex, "candidates", counting)
    item = catalog.meta()["item_id"][3]
    for query in (
        {"text": "a red dress", "k": 2},
        {"item": item, "k": 2},
        {"text": "a red dress", "k": 2, "by": "product"},
        {"text": "shirt", "k": 1},
    ):
        one, two = fashret.search(exact, **query), fashret.search(indexed, **query)
        assert asked
        assert one.ids == two.ids
        assert one.scores == pytest.approx(two.scores, abs=1e-6)
        asked.clear()
    assert ensure_index(catalog, kind).manifest["index"] == entry  # not built again
    photo = np.full((40, 40, 3), 200, dtype=np.uint8)
    fashret.search(indexed, text="a red dress", image=photo, k=3)
    assert not asked  # a query of both is searched exactly


@pytest.mark.run
def test_an_updated_catalog_is_indexed_again(run: Run) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}", "catalog.index=int8")
    first = open_catalog(folder)
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1")
    second = open_catalog(folder)
    assert (first.version, second.version) == (1, 2)
    assert index_kind(second) == "int8"
    assert second.manifest["index"]["version"] == 2
    index_file(second, "int8").unlink()
    assert index_kind(second) is None
    assert len(fashret.search(folder, text="a red dress", k=3)) == 3  # exactly
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1")
    assert index_kind(open_catalog(folder)) == "int8"  # built again
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1", "catalog.index=exact")
    assert open_catalog(folder).manifest["index"] is None
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1")
    assert open_catalog(folder).manifest["index"] is None
    with pytest.raises(ConfigError, match=r"catalog.index=faster: must be exact or hnsw"):
        run("build_catalog", "catalog.index=faster")
    assert json.loads((folder / "manifest.json").read_text())["history"]


@pytest.mark.run
def test_an_index_of_a_state_that_is_past_is_not_written(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}")
    first = open_catalog(folder)
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1")
    assert ensure_index(first, "int8") is first
    assert "was updated while its index was built" in caplog.text
    second = open_catalog(folder)
    assert second.version == 2
    assert not second.manifest.get("index")


@pytest.mark.run
def test_a_damaged_index_is_found_and_not_used(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}", "catalog.index=hnsw")
    path = index_file(open_catalog(folder), "hnsw")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"index-hnsw.faiss differs from its checksum"):
        verify(open_catalog(folder))
    path.write_bytes(b"no" + content[2:])
    hits = fashret.search(folder, text="a red dress", k=3)
    assert len(hits) == 3
    assert "is searched exactly, without its index" in caplog.text
    # Without faiss, too.
    monkeypatch.setattr("fashret.pipelines.catalog.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs another package \(faiss\): pip install"):
        run("build_catalog", "catalog.index=hnsw")
