"""Catalogs: whole or not at all, never encoded twice, never mistaken for another."""

from pathlib import Path

import pytest
import torch

from fashret.catalog.folder import open_catalog, verify
from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from support.catalogs import SPEC, build

pytestmark = pytest.mark.run


def test_a_catalog_holds_what_it_says(table: ItemTable, tmp_path: Path) -> None:
    catalog = build(table, tmp_path)
    files = {
        "catalog_img.npy", "catalog_txt.npy", "catalog_meta.parquet", "manifest.json",
        "heads.safetensors",
    }  # fmt: skip
    assert {p.name for p in catalog.folder.iterdir()} == files
    written_out = build(table, tmp_path, folder=tmp_path / "out")
    features = {"features_img.npy", "features_txt.npy"}
    assert {p.name for p in written_out.folder.iterdir()} == files | features
    own = open_catalog(written_out.folder)
    for kind in ("image", "text"):
        assert torch.equal(getattr(own, kind), getattr(catalog, kind))
        name = f"{kind}_features"
        assert torch.equal(getattr(own, name)[:], getattr(catalog, name)[:])
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
        return Retriever.from_backbone(backbone)

    with pytest.raises(KeyboardInterrupt):
        build(table, tmp_path, load=lambda: counting(5))
    assert not list((tmp_path / "catalogs").glob("*/manifest.json"))
    built = build(table, tmp_path, load=lambda: counting(None))
    # The 150 training items make 4 batches of 32, which were stored, and one of 22, which was not.
    assert seen[:5] == [32, 32, 32, 32, 22]
    assert sum(seen) == 300 + 22
    for name in ("image", "text", "image_features"):
        assert torch.allclose(getattr(built, name)[:], getattr(whole, name)[:], atol=1e-6), name
    build(table, tmp_path, load=lambda: pytest.fail("the catalog is there"))


def test_a_build_killed_after_encoding_encodes_nothing(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fashret.catalog.write._embed", killed)
        with pytest.raises(KeyboardInterrupt):
            build(table, tmp_path)

    def load() -> Retriever:
        backbone = load_backbone(SPEC, tmp_path)
        monkeypatch.setattr(backbone, "encode_image", lambda images: pytest.fail("encoded again"))
        return Retriever.from_backbone(backbone)

    built, whole = build(table, tmp_path, load=load), build(table, tmp_path / "whole")
    assert torch.equal(built.image, whole.image)
    assert torch.equal(built.text, whole.text)
    assert {path.name for path in built.folder.iterdir()} == {
        path.name for path in whole.folder.iterdir()
    }  # nothing that only a build in progress needs


def test_any_change_makes_another_catalog(table: ItemTable, tmp_path: Path) -> None:
    first = build(table, tmp_path)
    other = build(table, tmp_path, identity=SPEC.identity(tmp_path) | {"resize": "squash"})
    half = build(table, tmp_path, dtype="float16")
    assert len({first.folder, other.folder, half.folder}) == 3
    assert half.image.dtype == torch.float16
    assert torch.allclose(half.image.float(), first.image, atol=1e-3)


def test_a_folder_of_something_else_is_not_overwritten(table: ItemTable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(CatalogError, match="is not a catalog"):
        build(table, tmp_path, folder=mine)
    assert (mine / "thesis.tex").read_text() == "precious"
    build(table, tmp_path, folder=tmp_path / "here")
    with pytest.raises(CatalogError, match=r"with other weights .* choose another catalog.dir"):
        build(table, tmp_path, folder=tmp_path / "here", identity={"architecture": "x"})
