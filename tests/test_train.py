"""Whole runs, in-process, on the small sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from conftest import Run, lines
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fashret.catalog.store import open_catalog
from fashret.errors import CatalogError, CheckpointError, ConfigError, TrainingError
from fashret.functional.collapse import Health, health
from fashret.losses import InfoNCE
from fashret.models.spec import OWN
from fashret.types import Relations

SCRATCH = ("model.pretrained=null", "model.train=all")
ONE_EPOCH = ("trainer.max_epochs=1",)


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())["metrics"]
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny architecture, as a user's own file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    with torch.random.fork_rng():
        torch.manual_seed(11)
        clip = open_clip.create_model(f"local-dir:{OWN['fashret-tiny']}", load_weights=False)
        torch.save(clip.state_dict(), path)
    return path


def test_an_unfrozen_run_leaves_what_it_promises(run: Run) -> None:
    folder = run("train", *SCRATCH, "trainer.max_epochs=2")
    log = lines(folder)
    assert [line["epoch"] for line in log] == [0, 1, 2]
    assert log[0]["step"] == 0
    for key in ("train/loss_epoch", "train/lr", "train/temperature", "train/items_per_s"):
        assert key in log[1]
    for key in (
        "val/image/product/hit@10",
        "val/text/pair/hit@1",
        "val/fused/category/precision@10",
        "val/image/category/precision@5[cardigans]",
        "val/image/neckline/precision@10[macro]",
        "val/image/material/ndcg@10",
    ):
        assert key in log[0]
        assert key in log[2]
    found = metrics(folder)
    assert {key.split("/")[0] for key in found} == {"val", "test"}
    entry = found["test/image/category/precision@10"]
    assert set(entry) == {"value", "low", "high", "n", "ceiling", "chance"}
    assert entry["low"] <= entry["value"] <= entry["high"] <= 1.0
    assert found["val/image/category/precision@10"]["value"] == pytest.approx(
        log[2]["val/image/category/precision@10"], abs=1e-12
    )
    for name in ("scoreboard.md", "scoreboard.json", "metrics_by_neckline.json"):
        assert (folder / name).is_file()
    board = json.loads((folder / "scoreboard.json").read_text())
    assert board["rows"][0]["baseline"] is not None
    assert list((folder / "tensorboard").glob("events*"))
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


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


def test_one_typed_query_needs_no_brackets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def rows(found: list[tuple[str, Any]]) -> Image.Image:
        drawn.extend(query for query, _ in found)
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr("fashret.pipelines.search.photo_rows", rows)
    run("evaluate", "queries='red dress'")
    run("evaluate", "queries=[red dress,501]")
    assert drawn == ["red dress", "red dress", "501"]


def test_a_frozen_run_encodes_once_and_begins_at_the_baseline(
    run: Run, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = (f"model.pretrained={weights}", "model.train=heads", *ONE_EPOCH)
    first = run("train", *frozen)

    def refuse(*args: object) -> None:
        raise AssertionError("a tower was loaded")

    monkeypatch.setattr("fashret.pipelines.session.load_backbone", refuse)
    second = run("train", *frozen, folder="second")
    assert lines(first)[1]["val/text/pair/mrr@10"] == lines(second)[1]["val/text/pair/mrr@10"]
    untouched = run("train", *frozen, "optimizer.lr=0", folder="untouched")
    zero, one = lines(untouched)
    for key, value in zero.items():
        if key.startswith("val/"):
            assert one[key] == value, key
    state = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert set(state) == {
        "retriever.image_head.weight",
        "retriever.image_head.bias",
        "retriever.text_head.weight",
        "loss.log_scale",
    }


def test_nothing_to_learn_measures_the_baseline_and_ends_well(run: Run) -> None:
    folder = run("train", "model.train=heads", "model.heads=false", *ONE_EPOCH)
    assert metrics(folder)["val/image/category/precision@10"]["n"] == 24
    assert not (folder / "checkpoints").exists()


def test_one_batch_can_be_learned_by_heart(run: Run) -> None:
    folder = run("train", "debug=overfit", "data.batch_size=16")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    assert len(losses) == 60
    assert losses[0] > 0.3
    assert losses[-1] < 0.02


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
    with pytest.raises(CheckpointError, match="is no folder"):
        run("evaluate", "run=nowhere", folder="e", small=False)
    with pytest.raises(CheckpointError, match=r"there is no .*x.ckpt; the run has best.ckpt"):
        run("evaluate", f"run={folder}", f"ckpt={folder}/x.ckpt", folder="e", small=False)
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes()[:900])
    with pytest.raises(CheckpointError, match=r"torn.ckpt cannot be read as a checkpoint"):
        run("evaluate", f"ckpt={torn}", folder="e", small=False)


def test_a_monitor_that_is_no_metric_is_named_before_training(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"monitors val/text/pair/mrr@7, which is no metric"):
        run("train", "monitor=val/text/pair/mrr@7", *ONE_EPOCH)


def test_typed_queries_are_drawn_with_what_they_find(run: Run) -> None:
    queries = "queries=[red dress,striped shirt,blue denim]"
    for model in (("model.train=heads",), SCRATCH):
        trained = run("train", *model, *ONE_EPOCH, folder=f"run-{len(model)}")
        judged = run(
            "evaluate", f"run={trained}", queries, folder=f"judged-{len(model)}", small=False
        )
        with Image.open(judged / "queries.jpg") as picture:
            assert picture.width > 8 * 120
            assert picture.height > 3 * 160
    plain = run("evaluate", queries, folder="plain")
    assert (plain / "queries.jpg").is_file()


def test_a_run_is_exported_as_a_model_that_open_clip_reads(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run("train", *ONE_EPOCH)
    bundle = run.at("bundle")
    run("export", f"run={trained}", f"out={bundle}", folder="export", small=False)
    assert f"model.name=local-dir:{bundle}" in capsys.readouterr().out
    model = (f"model.name=local-dir:{bundle}", "model.pretrained=null")
    judged = run("evaluate", *model, folder="judged")
    last, again = lines(trained)[-1], metrics(judged)
    for key in ("val/image/category/precision@10", "val/text/pair/mrr@10"):
        assert again[key]["value"] == pytest.approx(last[key], abs=0.02)  # half precision
    with pytest.raises(ConfigError, match="holds other files"):
        run("export", f"run={trained}", f"out={trained}", folder="export", small=False)


def test_attribute_terms_are_logged_and_learn(run: Run) -> None:
    attributes = "loss.terms.attributes.attributes={category: 1.0, neckline: 2.0}"
    folder = run("train", "loss=attribute_aware", attributes, "trainer.log_every_n_steps=1")
    log = lines(folder)
    assert log[-1]["train/loss_attributes"] < log[1]["train/loss_attributes"]
    parts = ("contrastive", "tiers", "attributes", "hard", "anchor")
    whole = sum(log[-1][f"train/loss_{part}"] for part in parts)
    assert log[-1]["train/loss"] == pytest.approx(whole, rel=1e-5)
    assert 0.0 <= log[-1]["train/accuracy_neckline"] <= 1.0
    assert "train/accuracy_category" in log[-1]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert "loss.terms.attributes.directions.of_neckline" in state
    with pytest.raises(ConfigError, match=r"attributes names fabric; the data has category"):
        run("train", "loss=attribute_aware", "loss.terms.attributes.attributes={fabric: 1.0}")


@pytest.mark.parametrize(
    ("every", "unjudged", "message"),
    [
        (1, (), "the loss is nan at step 5"),
        (10, (), "embeddings contain NaN or Inf: 24 of 24 items"),
        (10, ("trainer.check_val_every_n_epoch=9",), "contains NaN or Inf at the end of the epoch"),
    ],
)
def test_a_run_that_is_lost_is_ended_with_the_last_good_weights(
    run: Run, monkeypatch: pytest.MonkeyPatch, every: int, unjudged: tuple[str, ...], message: str
) -> None:
    forward, calls = InfoNCE.forward, iter(range(100))

    def broken(self: InfoNCE, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        loss = forward(self, rows, columns, relations)
        return loss if next(calls) < 4 else loss * float("nan")  # 3 steps an epoch

    monkeypatch.setattr(InfoNCE, "forward", broken)
    options = ("trainer.max_epochs=4", f"trainer.log_every_n_steps={every}", *unjudged)
    with pytest.raises(TrainingError, match=rf"{message}.*last.ckpt\. Try a smaller optimizer.lr"):
        run("train", *options)
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0
    assert all(bool(value.isfinite().all()) for value in held["state_dict"].values())


def test_collapsed_embeddings_are_told_from_others() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.nn.functional.normalize(torch.randn(500, 32, generator=generator), dim=1)
    found = health(spread)
    assert found.effective_rank > 28
    assert abs(found.mean_similarity) < 0.01
    assert not found.collapsed
    together = torch.nn.functional.normalize(spread * 0.02 + spread[:1], dim=1)
    assert health(together).collapsed
    similarity = together.double() @ together.double().T
    others = (similarity.sum() - 500) / (500 * 499)
    assert health(together).mean_similarity == pytest.approx(float(others), abs=1e-9)
    line = torch.stack([spread[0], -spread[0]] * 250)
    assert health(line).effective_rank == pytest.approx(1.0, abs=1e-6)


def test_a_collapse_is_said_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = iter([Health(30.0, 0.2), Health(25.0, 0.3), Health(1.1, 0.99)])
    monkeypatch.setattr("fashret.engine.callbacks.watchdog.health", lambda embeddings: next(judged))
    with pytest.raises(TrainingError, match=r"two photos are 0.99 alike .*last.ckpt"):
        run("train", "trainer.max_epochs=3")
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0  # the epoch before
