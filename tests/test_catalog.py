"""Catalogs: whole or not at all, never encoded twice, never mistaken for another."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run

from fashret.catalog.build import ensure_catalog
from fashret.catalog.store import Catalog, checksum, open_catalog, verify
from fashret.data.augment import Augment
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import Sample
from fashret.errors import CatalogError
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec


@pytest.fixture(scope="module")
def table(cache_dir: Path) -> ItemTable:
    source = Sample(
        name="s", attributes=["neckline"], products=60, views=5, seed=0, split_seed=0,
        splits={"train": 0.8, "validation": 0.1, "test": 0.1}, batch_size=8, num_workers=0,
        augment=Augment(flip=0.0, crop=0.0),
    )  # fmt: skip
    return prepare(source, cache_dir)


SPEC = ModelSpec(
    name="fashret-tiny", pretrained=None, train="heads", train_blocks=1, heads=True,
    resize="longest", fill=255, seed=0,
)  # fmt: skip


def build(table: ItemTable, cache: Path, **options: Any) -> Catalog:
    identity = options.pop("identity", SPEC.identity(cache))
    load = options.pop("load", lambda: Retriever.on(load_backbone(SPEC, cache)))
    return ensure_catalog(table, identity, load, cache, label="tiny", **options)


def test_a_catalog_holds_what_it_says(table: ItemTable, tmp_path: Path) -> None:
    catalog = build(table, tmp_path)
    assert {p.name for p in catalog.folder.iterdir()} == {
        "catalog_img.npy", "catalog_txt.npy", "features_img.npy", "features_txt.npy",
        "catalog_meta.parquet", "manifest.json", "heads.safetensors",
    }  # fmt: skip
    assert len(catalog) == len(table) == 300
    assert torch.allclose(catalog.image.norm(dim=1), torch.ones(300), atol=1e-5)
    assert catalog.meta()["item_id"].tolist() == table.column("item_id")
    assert set(catalog.manifest["files"]) == {
        p.name for p in catalog.folder.iterdir() if p.name != "manifest.json"
    }
    verify(catalog)


def test_a_killed_build_goes_on_and_encodes_nothing_twice(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(table, tmp_path / "whole")
    monkeypatch.setattr("fashret.loading.samplers.EVALUATION_BATCH", 32)
    seen: list[int] = []

    def counting(after: int | None) -> Retriever:
        backbone = load_backbone(SPEC, tmp_path)
        encode = backbone.encode_image

        def encode_image(images: torch.Tensor) -> torch.Tensor:
            if after is not None and len(seen) == after:
                raise KeyboardInterrupt
            seen.append(len(images))
            return encode(images)

        monkeypatch.setattr(backbone, "encode_image", encode_image)
        return Retriever.on(backbone)

    monkeypatch.setattr("fashret.catalog.encode._SAVE_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        build(table, tmp_path, load=lambda: counting(5))
    assert not list((tmp_path / "catalogs").glob("*/manifest.json"))
    built = build(table, tmp_path, load=lambda: counting(None))
    # The 150 training items make 4 batches of 32, which were saved, and one of 22, which was not.
    assert seen[:5] == [32, 32, 32, 32, 22]
    assert sum(seen) == 300 + 22
    for name in ("image", "text", "image_features"):
        assert torch.allclose(getattr(built, name), getattr(whole, name), atol=1e-6), name
    build(table, tmp_path, load=lambda: pytest.fail("the catalog is there"))


def test_equal_captions_are_encoded_once(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(SPEC, tmp_path)
    encode, seen = backbone.encode_text, []

    def encode_text(tokens: torch.Tensor) -> torch.Tensor:
        seen.extend(tuple(row) for row in tokens.tolist())
        return encode(tokens)

    monkeypatch.setattr(backbone, "encode_text", encode_text)
    catalog = build(table, tmp_path, load=lambda: Retriever.on(backbone))
    texts = table.column("text")
    assert len(seen) == len(set(seen)) == len(set(texts)) < len(texts)
    for row in (0, 17, 299):
        alone = encode(backbone.tokenize([texts[row]]))[0]
        assert torch.allclose(catalog.text_features[row], alone, atol=1e-5)


def test_a_build_killed_after_encoding_encodes_nothing(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fashret.catalog.build._embed", killed)
        with pytest.raises(KeyboardInterrupt):
            build(table, tmp_path)

    def load() -> Retriever:
        backbone = load_backbone(SPEC, tmp_path)
        monkeypatch.setattr(backbone, "encode_image", lambda images: pytest.fail("encoded again"))
        return Retriever.on(backbone)

    built, whole = build(table, tmp_path, load=load), build(table, tmp_path / "whole")
    assert torch.equal(built.image, whole.image)
    assert torch.equal(built.text, whole.text)
    assert {path.name for path in built.folder.iterdir()} == {
        path.name for path in whole.folder.iterdir()
    }  # nothing that only a build in progress needs


def test_a_lower_precision_is_near_and_has_a_key_of_its_own(
    table: ItemTable, tmp_path: Path
) -> None:
    lower = replace(SPEC, precision="bfloat16")
    exact = build(table, tmp_path)
    near = build(
        table,
        tmp_path,
        identity=lower.identity(tmp_path),
        load=lambda: Retriever.on(load_backbone(lower, tmp_path)),
    )
    assert near.folder != exact.folder
    for kind in ("image", "text"):
        like = (getattr(near, kind) * getattr(exact, kind)).sum(dim=1)
        assert 0.99 < like.min() < like.max()
        assert not torch.equal(getattr(near, kind), getattr(exact, kind))


def test_any_change_makes_another_catalog(table: ItemTable, tmp_path: Path) -> None:
    first = build(table, tmp_path)
    other = build(table, tmp_path, identity=SPEC.identity(tmp_path) | {"resize": "squash"})
    half = build(table, tmp_path, dtype="float16")
    assert len({first.folder, other.folder, half.folder}) == 3
    assert half.image.dtype == torch.float16
    assert torch.allclose(half.image.float(), first.image, atol=1e-3)


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
    with pytest.raises(CatalogError, match="format 0, this fashret reads 2"):
        open_catalog(old)


@pytest.mark.parametrize(
    ("tower", "dtype", "made", "named"),
    [
        ("image", "float32", float("nan"), r"5 of a batch of 150 photos, (\S+, ){4}\S+; check"),
        ("text", "float32", float("inf"), r"5 of a batch of \d+ captions, '.+'; check the weights"),
        ("image", "float16", 70_000.0, r"5 of a batch of 150 photos, .* catalog.dtype=float32"),
    ],
)
def test_features_that_are_not_finite_are_refused_with_their_items(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tower: str, dtype: str,
    made: float, named: str,
) -> None:  # fmt: skip
    backbone = load_backbone(SPEC, tmp_path)
    encode = getattr(backbone, f"encode_{tower}")

    def broken(inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = encode(inputs)
        features[2:7, 3] = made  # the largest number of half precision is 65,504
        return features

    monkeypatch.setattr(backbone, f"encode_{tower}", broken)
    with pytest.raises(CatalogError, match=rf"features contain NaN or Inf: {named}") as raised:
        build(table, tmp_path, load=lambda: Retriever.on(backbone), dtype=dtype)
    assert not list((tmp_path / "catalogs").glob("*/manifest.json"))
    if tower == "image":
        items = table.column("item_id")
        assert ", ".join(items[row] for row in table.rows("train")[2:7]) in str(raised.value)


def test_embeddings_of_broken_heads_are_refused_with_their_items(
    table: ItemTable, tmp_path: Path
) -> None:
    base = build(table, tmp_path)

    def load() -> Retriever:
        retriever = Retriever(*base.heads)
        with torch.no_grad():
            retriever.image_head.weight[0, 0] = float("nan")
        return retriever

    first = table.column("item_id")[0]
    message = rf"image embeddings contain NaN or Inf: 300 of 300 items, {first} \(row 0\), .*\.\.\."
    with pytest.raises(CatalogError, match=message):
        build(table, tmp_path, load=load, base=base, identity={"learned": "nan"})


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


def test_a_folder_of_something_else_is_not_overwritten(table: ItemTable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(CatalogError, match="is not a catalog"):
        build(table, tmp_path, folder=mine)
    assert (mine / "thesis.tex").read_text() == "precious"
    build(table, tmp_path, folder=tmp_path / "here")
    with pytest.raises(CatalogError, match=r"another key: give another catalog.dir"):
        build(table, tmp_path, folder=tmp_path / "here", identity={"architecture": "x"})


def test_pickles_are_not_loaded(table: ItemTable, tmp_path: Path) -> None:
    catalog = build(table, tmp_path)
    path = catalog.folder / "catalog_img.npy"
    np.save(path, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        _ = Catalog(catalog.folder, catalog.manifest).image


def test_build_catalog_prints_where(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("build_catalog")
    printed = capsys.readouterr().out
    assert "96 items, 256 dimensions, verified: " in printed
    assert (Path(printed.split("verified: ")[1].strip()) / "manifest.json").is_file()
