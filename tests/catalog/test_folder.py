"""Stored catalogs: damaged, broken or hostile ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fashret.catalog.folder import Catalog, checksum, open_catalog, verify
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from support.catalogs import build
from support.commands import Run

pytestmark = pytest.mark.run


def test_a_damaged_catalog_is_named(table: ItemTable, tmp_path: Path) -> None:
    catalog = build(table, tmp_path)
    cut = shutil.copytree(catalog.folder, tmp_path / "cut")
    (cut / "catalog_txt.npy").write_bytes(b"x")
    with pytest.raises(CatalogError, match=r"catalog_txt.npy has 1 bytes, its manifest says"):
        open_catalog(cut)
    changed = shutil.copytree(catalog.folder, tmp_path / "changed")
    array = np.load(changed / "catalog_img.npy", mmap_mode="r+")
    array[0, 0] += 1
    array.flush()
    with pytest.raises(CatalogError, match="differs from its checksum"):
        verify(open_catalog(changed))
    with pytest.raises(CatalogError, match="is not a catalog"):
        open_catalog(tmp_path)
    old = shutil.copytree(catalog.folder, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"format": 0}))
    with pytest.raises(CatalogError, match="format 0, but this version reads format 2"):
        open_catalog(old)


def test_a_catalog_whose_embeddings_are_not_finite_is_neither_verified_nor_judged(
    run: Run,
) -> None:
    folder = run.at("catalog")
    run("build_catalog", f"catalog.dir={folder}")
    path = folder / "catalog_txt.npy"
    array = np.load(path, mmap_mode="r+")
    array[[7, 95], 4] = np.nan
    array.flush()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name]["sha256"] = checksum(path)  # whole by its own checksums
    (folder / "manifest.json").write_text(json.dumps(manifest))
    ids = open_catalog(folder).meta()["item_id"]
    message = rf"text embeddings contain NaN or Inf: 2 of 96 items, {ids[7]} \(row 7\), {ids[95]}"
    for command in (("build_catalog", f"catalog.dir={folder}"), ("evaluate", f"run={folder}")):
        with pytest.raises(CatalogError, match=message):
            run(*command, folder="judged")


def test_pickles_are_not_loaded(table: ItemTable, tmp_path: Path) -> None:
    catalog = build(table, tmp_path)
    path = catalog.folder / "catalog_img.npy"
    np.save(path, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        _ = Catalog(catalog.folder, catalog.manifest).image
