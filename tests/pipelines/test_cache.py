"""The cache: what it holds, what removing costs, what is in use, and what is damaged."""

import os
import time
from pathlib import Path

import pytest

from fashret.cache import mark_used
from fashret.errors import CatalogError
from fashret.file_lock import file_lock
from fashret.pipelines.cache import cache_entries, remove_entry, to_remove, verify_entry
from support.commands import Run

pytestmark = pytest.mark.run


@pytest.fixture
def cache(run: Run, tmp_path: Path) -> Path:
    """A cache with the sample of 96 items, its catalog, and a killed preparation."""
    run.cache_dir = tmp_path / "cache"
    run("build_catalog")
    leftover = run.cache_dir / "data" / "photos-00.partial"
    leftover.mkdir()
    (leftover / "whole").write_text("x" * 1000)
    return run.cache_dir


def test_every_entry_says_what_it_holds_and_costs(cache: Path) -> None:
    entries = {entry.kind: entry for entry in cache_entries(cache)}
    assert entries.keys() == {"data", "features", "catalogs", "leftover"}
    assert entries["data"].about == "96 items"
    assert entries["catalogs"].about == "96 items by fashret-tiny"
    assert "written again from the stored features" in entries["catalogs"].cost
    features = entries["features"]
    texts = len(set(ids_and_texts(cache)))
    assert features.about == f"96 photos and {texts} texts by fashret-tiny"
    assert features.cost == f"96 photos and {texts} texts are encoded again"
    on_disk = sum(p.stat().st_size for p in features.path.rglob("*") if p.is_file())
    assert features.size == on_disk > 96 * 128 * 4
    assert entries["leftover"].size == 1000


def ids_and_texts(cache: Path) -> list[str]:
    from fashret.catalog.folder import open_catalog

    (folder,) = (cache / "catalogs").glob("*[!k]")
    return list(open_catalog(folder).meta()["text"])


def test_entries_are_chosen_by_name_age_size_and_kind(cache: Path) -> None:
    ages = {"data": 10, "features": 20, "catalogs": 1, "leftover": 40}
    for entry in cache_entries(cache):
        then = time.time() - ages[entry.kind] * 86_400
        os.utime(entry.path, (then, then))
    entries = cache_entries(cache)
    assert [entry.kind for entry in entries] == ["catalogs", "data", "features", "leftover"]

    def kinds(**chosen: object) -> list[str]:
        return [entry.kind for entry in to_remove(entries, **chosen)]  # type: ignore[arg-type]

    assert kinds(older_than=15) == ["features", "leftover"]
    assert kinds(leftovers=True) == ["leftover"]
    assert kinds(names=[entries[1].name]) == ["data"]
    assert kinds() == []
    first_two = entries[0].size + entries[1].size
    assert kinds(max_size=first_two) == ["features", "leftover"]
    assert kinds(max_size=first_two - 1) == ["data", "features", "leftover"]
    with pytest.raises(CatalogError, match="has no entry 'other'"):
        to_remove(entries, names=["other"])
    mark_used(entries[2].path)
    assert cache_entries(cache)[0].kind == "features"


def test_what_is_used_is_marked(cache: Path, run: Run) -> None:
    for entry in cache_entries(cache):
        os.utime(entry.path, (0, 0))
    run("build_catalog", folder="again")
    used = {entry.kind: entry.used > 0 for entry in cache_entries(cache)}
    assert used == {"data": True, "features": True, "catalogs": True, "leftover": False}


def test_what_another_process_uses_is_not_removed(cache: Path) -> None:
    for entry in cache_entries(cache):
        lock = entry.path.with_name(f"{entry.name.removesuffix('.partial')}.lock")
        if entry.kind == "features":
            lock = entry.path / "image" / "lock"
        with (
            file_lock(lock, "a test"),
            pytest.raises(CatalogError, match="is in use by another process: it was not removed"),
        ):
            remove_entry(entry)
        assert entry.path.exists()
        remove_entry(entry)
        assert not entry.path.exists()
    assert cache_entries(cache) == []


def test_damage_is_found(cache: Path) -> None:
    entries = {entry.kind: entry for entry in cache_entries(cache)}
    assert [verify_entry(entry) for entry in entries.values()] == [""] * 4
    for path in (
        entries["features"].path / "text" / "vectors.bin",
        entries["catalogs"].path / "catalog_img.npy",
    ):
        damaged = bytearray(path.read_bytes())
        damaged[-2] ^= 1
        path.write_bytes(damaged)
    assert verify_entry(entries["features"]) == "1 features of text differ: they are encoded again"
    assert "catalog_img.npy differs from its checksum" in verify_entry(entries["catalogs"])


def test_a_removal_that_was_killed_does_not_stop_the_next(cache: Path) -> None:
    entry = next(each for each in cache_entries(cache) if each.kind == "catalogs")
    killed = entry.path.with_name(f"{entry.name}.removed.partial")
    killed.mkdir()
    (killed / "rest").write_text("x")
    remove_entry(entry)
    assert not entry.path.exists()
    assert not killed.exists()


def test_weights_are_removed_by_their_name_alone(cache: Path) -> None:
    weights = cache / "weights" / "model.pt"
    weights.parent.mkdir()
    weights.write_bytes(b"x" * 500)
    os.utime(weights, (0, 0))
    vectors = cache / "embeddings" / "abc"
    vectors.mkdir(parents=True)
    (vectors / "image.npy").write_bytes(b"x" * 400)
    os.utime(vectors, (0, 0))
    entries = cache_entries(cache)
    kinds = {entry.kind for entry in to_remove(entries, older_than=1, max_size=0)}
    assert "embeddings" in kinds
    assert "weights" not in kinds
    assert [entry.name for entry in to_remove(entries, names=["model.pt"])] == ["model.pt"]
