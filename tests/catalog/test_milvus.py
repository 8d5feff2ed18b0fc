"""A catalog in Milvus: the embedded one, in a file."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import fashret
from fashret.catalog.folder import Catalog, open_catalog
from fashret.catalog.milvus import MilvusCatalog, identifier
from fashret.errors import CatalogError, ConfigError
from fashret.functional.topk import topk
from support.commands import Run

pytestmark = pytest.mark.run


@pytest.fixture
def catalog(run: Run) -> Catalog:
    run("train", "model.attribute_blocks={neckline: 8}", "trainer.max_epochs=1", folder="trained")
    run("build_catalog", f"catalog.dir={run.at('catalog')}", f"run={run.at('trained')}")
    return open_catalog(run.at("catalog"))


@pytest.fixture
def engine(catalog: Catalog, tmp_path: Path) -> MilvusCatalog:
    made = MilvusCatalog(str(tmp_path / "milvus.db"), "my shop")
    assert re.fullmatch(r"my_shop_[0-9a-f]{8}_1", made.push(catalog))
    return made


def exact(catalog: Catalog, query: torch.Tensor, rows: np.ndarray, k: int) -> list[str]:
    ids = catalog.meta()["item_id"].to_numpy()[rows]
    best = topk(query[None].float(), catalog.image[torch.from_numpy(rows)].float(), k).rows[0]
    return [str(ids[position]) for position in best.tolist()]


def test_search_filter_and_groups_equal_the_exact_search(
    catalog: Catalog, engine: MilvusCatalog
) -> None:
    meta = catalog.meta()
    everything = np.arange(len(catalog))
    assert len(engine) == len(catalog) == 96
    missed = 0
    for row in range(0, 96, 5):
        query = catalog.text[row]
        found = [hit.item_id for hit in engine.search(query.numpy(), 10)]
        missed += len(set(exact(catalog, query, everything, 10)) - set(found))
    assert missed <= 2  # of 200: a recall of 0.99
    colour = meta["colour"].value_counts().index[0]
    allowed = np.flatnonzero(meta["colour"] == colour)
    hits = engine.search(catalog.image[3].numpy(), 5, where={"colour": colour})
    assert [hit.item_id for hit in hits] == exact(catalog, catalog.image[3], allowed, 5)
    assert {hit.fields["colour"] for hit in hits} == {colour}
    scores = [float(catalog.image[hit.row] @ catalog.image[3]) for hit in hits]
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-5)
    products = engine.search(catalog.image[3].numpy(), 5, by="product")
    names = [hit.fields["product_id"] for hit in products]
    assert len(names) == len(set(names)) == 5
    # By hand: the products of all items in their exact order, each once.
    ordered = exact(catalog, catalog.image[3], everything, 96)
    by_item = meta.set_index("item_id")["product_id"]
    assert names == list(dict.fromkeys(by_item[item] for item in ordered))[:5]


def test_the_block_of_an_attribute_is_a_vector_of_its_own(
    catalog: Catalog, engine: MilvusCatalog
) -> None:
    blocks = catalog.layout.block(catalog.image.float(), "neckline")
    hits = engine.search(blocks[7].numpy(), 3, field="photo_neckline")
    ids = catalog.meta()["item_id"]
    best = (blocks @ blocks[7]).argsort(descending=True)[:3].tolist()
    assert {hit.item_id for hit in hits} == {ids[row] for row in best}
    texts = engine.search(catalog.text[7].numpy(), 1, field="text_vector")
    assert texts[0].score == pytest.approx(1.0, abs=1e-5)


def test_items_are_deleted_and_put_back(catalog: Catalog, engine: MilvusCatalog) -> None:
    query, item = catalog.image[20].numpy(), str(catalog.meta()["item_id"][20])
    assert engine.search(query, 1)[0].item_id == item
    engine.delete([item, "nobody"])
    assert len(engine) == 95
    assert engine.search(query, 1)[0].item_id != item
    assert engine.upsert(catalog, [item]) == 1
    assert engine.upsert(catalog, [item]) == 1  # replaced, not added
    assert len(engine) == 96
    assert engine.search(query, 1)[0].item_id == item
    with pytest.raises(CatalogError, match="has no item nobody"):
        engine.upsert(catalog, ["nobody"])


def test_the_alias_is_switched_when_the_new_collection_is_whole(
    catalog: Catalog, engine: MilvusCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MilvusCatalog._send

    def killed(self: MilvusCatalog, name: str, catalog: Catalog, rows: np.ndarray) -> None:
        send(self, name, catalog, rows[:40])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MilvusCatalog, "_send", killed)
        with pytest.raises(KeyboardInterrupt):
            engine.push(catalog)
    first = str(engine.current())
    assert (first[-2:], len(engine)) == ("_1", 96)
    second = engine.push(catalog)
    assert second == f"{first[:-2]}_2"
    assert (engine.current(), len(engine)) == (second, 96)
    assert engine.client.list_collections() == [second]


def test_the_catalog_command_pushes_and_search_uses_it(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}", "catalog.index=milvus")
    assert "index milvus: recall@10 " in capsys.readouterr().out
    entry = open_catalog(folder).manifest["index"]
    assert (entry["kind"], entry["alias"], entry["collection"]) == ("milvus", "mine", "mine_own_1")
    asked: list[int] = []
    candidates = MilvusCatalog.candidates

    def counting(self: MilvusCatalog, queries: np.ndarray, count: int) -> np.ndarray:
        asked.append(count)
        return candidates(self, queries, count)

    monkeypatch.setattr(MilvusCatalog, "candidates", counting)
    run("build_catalog", f"catalog.dir={run.at('exact')}")
    one, two = (fashret.search(each, text="a red dress", k=5) for each in (run.at("exact"), folder))
    assert asked
    assert one.ids == two.ids
    run("build_catalog", f"catalog.dir={folder}", "data.split_seed=1")
    entry = open_catalog(folder).manifest["index"]
    assert (entry["version"], entry["collection"]) == (2, "mine_own_2")


def test_what_is_wrong_is_said(tmp_path: Path, engine: MilvusCatalog) -> None:
    empty = MilvusCatalog(str(tmp_path / "empty.db"), "nothing")
    with pytest.raises(CatalogError, match="has no catalog 'nothing': push one first"):
        empty.search(np.zeros(4))
    with pytest.raises(ConfigError, match="where names 'size'; Milvus has "):
        engine.search(np.zeros(264), where={"size": "XL"})
    assert identifier("sleeve length") == identifier("sleeve-length") == "sleeve_length"
    assert identifier("3d") == "_3d"
    others = {identifier(name) for name in ("\u8272", "\u7fd2", "a.b", "a_b")}
    assert len(others) == 4
    assert all(re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII) for name in others)


def test_a_folder_alone_opens_no_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}")
    manifest = json.loads((folder / "manifest.json").read_text())
    caplog.set_level("INFO")
    uris = ("http://203.0.113.9:19530", f"unix:{run.at('socket')}", str(run.at("made/x.db")))
    for uri in uris:
        about = {"kind": "milvus", "version": 1, "uri": uri, "alias": "x", "collection": "x_1"}
        (folder / "manifest.json").write_text(json.dumps(manifest | {"index": about}))
        caplog.clear()
        assert len(fashret.search(folder, text="a red dress", k=2)) == 2
        assert "here it is searched exactly" in caplog.text
    assert not run.at("made").exists()
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"files": {"../other.npy": {"bytes": 1, "sha256": ""}}})
    )
    with pytest.raises(CatalogError, match="a file of a catalog is in its folder, not elsewhere"):
        open_catalog(folder)


def test_two_folders_of_one_name_do_not_replace_each_other(
    catalog: Catalog, engine: MilvusCatalog, run: Run
) -> None:
    other = catalog.changed(folder=run.at("elsewhere") / "catalog")
    with pytest.raises(CatalogError, match=r"has a catalog 'my_shop' of another folder: give"):
        engine.push(other)
    assert len(engine) == 96


def test_a_catalog_that_moved_is_searched_from_anywhere(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    run("build_catalog", "catalog.dir=here", "catalog.index=milvus")
    assert open_catalog(Path("here")).manifest["index"]["uri"] == "milvus.db"
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    shutil.copytree("../here", "../there")
    assert len(fashret.search("../there", text="a red dress", k=2)) == 2
    assert "exactly" not in caplog.text
    assert list(Path().iterdir()) == []
