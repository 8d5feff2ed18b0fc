"""Evaluations of whole runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashret.catalog.folder import open_catalog
from fashret.errors import CatalogError, CheckpointError, ConfigError
from support.commands import ONE_EPOCH, SCRATCH, Run, lines, metrics


def test_evaluate_reproduces_the_runs_last_epoch(run: Run) -> None:
    folder = run("train", *SCRATCH, "trainer.max_epochs=2", "retrieval.exclude=product")
    judged = run("evaluate", f"run={folder}", "split=validation", folder="evaluation", small=False)
    again = metrics(judged)
    last = lines(folder)[-1]
    compared = 0
    for key, value in last.items():
        if key.startswith("val/"):
            compared += 1
            assert again[key]["value"] == value or (value is None and again[key]["n"] == 0), key
    assert compared > 400
    held = json.loads((judged / "metrics.json").read_text())
    assert held["retrieval"]["exclude"] == "product"  # the run's own option
    catalog = open_catalog(Path(held["catalog"]))
    assert catalog.manifest["encoder"]["learned"]


def test_evaluating_a_run_judges_the_split_that_its_scoreboard_shows(run: Run) -> None:
    folder = run("train", *ONE_EPOCH)
    shown = json.loads((folder / "scoreboard.json").read_text())
    judged = run("evaluate", f"run={folder}", folder="judged", small=False)
    again = json.loads((judged / "scoreboard.json").read_text())
    assert shown["rows"] == again["rows"]
    assert again["rows"][0]["key"].startswith("test/")
    assert again["title"].endswith("sample, test")
    last = folder / "checkpoints" / "last.ckpt"
    alone = run("evaluate", f"ckpt={last}", folder="alone", small=False)
    assert json.loads((alone / "scoreboard.json").read_text())["rows"] == shown["rows"]
    official = run("evaluate", "protocol=paired", f"run={folder}", folder="paired", small=False)
    assert "sample, test" in (official / "protocol.md").read_text()

    as_it_comes = run("evaluate", folder="as_it_comes")
    assert {key.split("/")[0] for key in metrics(as_it_comes)} == {"val"}


@pytest.fixture
def shop(tmp_path: Path) -> list[str]:
    """A folder of six photos without a test split, and what a command needs to read it."""
    photos = {"a": "p", "b": "p", "c": "q", "d": "r", "e": "s", "f": "t"}
    table = "image,item_id,text,product_id,split,category\n"
    for name, product in photos.items():
        split = "train" if product in "st" else "validation"
        text = "" if name == "d" else f"a shirt {name}"
        Image.new("RGB", (8, 8), (ord(name), 7, 9)).save(tmp_path / f"{name}.png")
        table += f"{name}.png,{name},{text},{product},{split},shirts\n"
    (tmp_path / "items.csv").write_text(table)
    return [
        "data=folder", f"data.root={tmp_path}", "data.table=items.csv", "data.num_workers=0",
        "retrieval.resamples=20",
    ]  # fmt: skip


def test_without_a_test_split_a_run_is_judged_on_validation(run: Run, shop: list[str]) -> None:
    folder = run("train", *shop, "data.batch_size=2", *ONE_EPOCH, small=False)
    judged = run("evaluate", f"run={folder}", folder="judged", small=False)
    assert {key.split("/")[0] for key in metrics(judged)} == {"val"}


def test_text_queries_of_items_without_text_are_not_counted_as_without_a_relevant_item(
    run: Run, shop: list[str]
) -> None:
    # Validation: a, b (one product), c (alone), d (alone, without text). Texts ask for their own
    # photo too, so that every text has an answer; a photo does not find itself, so c and d do not.
    folder = run("evaluate", *shop, small=False)
    held = json.loads((folder / "metrics.json").read_text())["searched"]["validation"]
    counts = held["without_relevant_item"]
    assert held["queries"] == 4
    assert {key: counts[key] for key in ("image/product", "text/product", "text/pair")} == {
        "image/product": 2, "text/product": 0, "text/pair": 0,
    }  # fmt: skip


def test_retrieval_options_change_what_is_searched(run: Run) -> None:
    model = ("model.train=heads",)
    plain = run("evaluate", *model)
    per_query = pd.read_parquet(plain / "per_query_results.parquet")
    images = per_query[per_query["mode"] == "image"].set_index("query_id")
    assert len(images) == 24
    assert all(query not in found for query, found in images["retrieved_ids"].items())
    ordered = [np.all(np.diff(scores) <= 0) for scores in per_query["scores"]]
    assert all(ordered)

    none = run("evaluate", *model, "retrieval.exclude=none", folder="none")
    found = pd.read_parquet(none / "per_query_results.parquet")
    images = found[found["mode"] == "image"].set_index("query_id")
    assert all(query == ids[0] for query, ids in images["retrieved_ids"].items())

    product = run("evaluate", *model, "retrieval.exclude=product", folder="product")
    assert metrics(product)["val/image/product/hit@10"]["n"] == 0
    assert metrics(product)["val/image/product/hit@10"]["value"] is None

    train = run("evaluate", *model, "retrieval.catalog_splits=[train]", "split=test", folder="t")
    found = pd.read_parquet(train / "per_query_results.parquet")
    meta = open_catalog(Path(json.loads((train / "metrics.json").read_text())["catalog"])).meta()
    training = set(meta[meta["split"] == "train"]["item_id"])
    assert all(set(ids) <= training for ids in found["retrieved_ids"])

    quick = run("evaluate", *model, "retrieval.max_queries=5", "retrieval.max_items=12",
                folder="quick")  # fmt: skip
    held = json.loads((quick / "metrics.json").read_text())["searched"]["validation"]
    assert (held["queries"], held["items"]) == (5, 12)
    looked = run("evaluate", *model, "quick=true", folder="looked")
    held = json.loads((looked / "metrics.json").read_text())["retrieval"]
    assert (held["max_queries"], held["max_items"]) == (500, 5000)

    first = run("evaluate", *model, "retrieval.candidates=10", folder="candidates")
    found = pd.read_parquet(first / "per_query_results.parquet").set_index(["mode", "query_id"])
    for query in found.loc["fused"].index:
        fused = set(found.loc["fused"].loc[query, "retrieved_ids"])
        assert fused == set(found.loc["image"].loc[query, "retrieved_ids"])

    image_only = run("evaluate", *model, "retrieval.weight_image=1.0", folder="w")
    found = pd.read_parquet(image_only / "per_query_results.parquet").set_index("mode")
    assert [list(ids) for ids in found.loc["fused", "retrieved_ids"]] == [
        list(ids) for ids in found.loc["image", "retrieved_ids"]
    ]


def test_a_trained_runs_catalog_holds_its_own_embeddings(
    run: Run, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("train", f"model.pretrained={weights}", "model.train=heads", *ONE_EPOCH)
    where = folder / "my_catalog"
    run("build_catalog", f"run={folder}", f"catalog.dir={where}", folder="build", small=False)
    assert str(where) in capsys.readouterr().out
    catalog = open_catalog(where)
    assert torch.allclose(catalog.image.norm(dim=1), torch.ones(len(catalog)), atol=1e-5)
    judged = run("evaluate", f"run={folder}", folder="evaluation", small=False)
    baseline = open_catalog(Path(json.loads((judged / "metrics.json").read_text())["catalog"]))
    assert not torch.allclose(catalog.image, baseline.image, atol=1e-3)
    assert catalog.meta()["item_id"].tolist() == baseline.meta()["item_id"].tolist()

    # What the catalog holds finds what the run does, and either is compared with the other.
    alone = run("evaluate", f"run={where}", f"baseline={folder}", folder="alone")
    found, expected = metrics(alone), metrics(judged)
    for key, result in expected.items():
        assert found[key]["value"] == pytest.approx(result["value"], abs=1e-3), key
    other = run("evaluate", f"run={folder}", f"baseline={where}", folder="o", small=False)
    board = json.loads((other / "scoreboard.json").read_text())
    assert all(abs(row["delta"] or 0.0) < 1e-3 for row in (*board["rows"], *board["watched"]))
    events = EventAccumulator(str(other / "tensorboard"))
    events.Reload()
    assert "scoreboard/text_summary" in events.Tags()["tensors"]
    with pytest.raises(CatalogError, match=r"is a catalog of sample-\w+, data=sample is sample-"):
        run("evaluate", f"run={where}", "data.seed=7", folder="e")
    with pytest.raises(ConfigError, match=r"queries= needs a model"):
        run("evaluate", f"run={where}", "queries=[a red dress]", folder="e")


def test_what_a_run_decides_cannot_be_changed_behind_it(run: Run, tmp_path: Path) -> None:
    folder = run("train", "model.train=heads", *ONE_EPOCH)
    with pytest.raises(ConfigError, match=r"model cannot be given with run="):
        run("evaluate", f"run={folder}", "model=vitb32", folder="e", small=False)
    with pytest.raises(CheckpointError, match="folder not found"):
        run("evaluate", "run=nowhere", folder="e", small=False)
    with pytest.raises(CheckpointError, match=r"not found: .*x.ckpt; the run has best.ckpt"):
        run("evaluate", f"run={folder}", f"ckpt={folder}/x.ckpt", folder="e", small=False)
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes()[:900])
    with pytest.raises(CheckpointError, match=r"torn.ckpt cannot be read as a checkpoint"):
        run("evaluate", f"ckpt={torn}", folder="e", small=False)
