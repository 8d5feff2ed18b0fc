"""A catalog in Milvus: the embedded one, in a file."""

import json
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
    assert made.push(catalog) == "my_shop_1"
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
    assert (engine.current(), len(engine)) == ("my_shop_1", 96)
    assert engine.push(catalog) == "my_shop_2"
    assert (engine.current(), len(engine)) == ("my_shop_2", 96)
    assert engine.client.list_collections() == ["my_shop_2"]


def test_the_catalog_command_pushes_and_search_uses_it(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}", "catalog.index=milvus")
    assert "index milvus: recall@10 " in capsys.readouterr().out
    entry = open_catalog(folder).manifest["index"]
    assert (entry["kind"], entry["alias"], entry["collection"]) == ("milvus", "mine", "mine_1")
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
    assert (entry["version"], entry["collection"]) == (2, "mine_2")


def test_what_is_wrong_is_said(tmp_path: Path, engine: MilvusCatalog) -> None:
    empty = MilvusCatalog(str(tmp_path / "empty.db"), "nothing")
    with pytest.raises(CatalogError, match="has no catalog 'nothing': push one first"):
        empty.search(np.zeros(4))
    with pytest.raises(ConfigError, match="where names 'size'; Milvus has "):
        engine.search(np.zeros(264), where={"size": "XL"})
    assert identifier("sleeve length") == "sleeve_length"
    assert identifier("3d") == "_3d"


def test_a_folder_alone_opens_no_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder = run.at("mine")
    run("build_catalog", f"catalog.dir={folder}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["index"] = {
        "kind": "milvus", "version": 1, "uri": "http://203.0.113.9:19530", "alias": "x",
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    caplog.set_level("INFO")
    assert len(fashret.search(folder, text="a red dress", k=2)) == 2
    assert "here it is searched exactly" in caplog.text
