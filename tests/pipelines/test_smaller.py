"""Smaller embeddings: trained with fewer dimensions, at several widths, and compressed."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

import fashret
from fashret.catalog.folder import open_catalog
from fashret.errors import ConfigError
from support.commands import Run, metrics

pytestmark = pytest.mark.run


KEYS = [
    f"test/{task}/{metric}@{k}"
    for task in ("text/category", "image/category", "fused/category")
    for metric in ("precision", "map", "ndcg")
    for k in (1, 5, 10)
]
"""Metrics that tell the costs of smaller embeddings on the sample."""


def test_a_model_of_fewer_dimensions_is_trained_evaluated_searched_and_exported(run: Run) -> None:
    trained = run(
        "train", "model.dim=64", "loss=matryoshka", "loss.widths=[16]", "trainer.max_epochs=2",
        folder="trained",
    )  # fmt: skip
    model = fashret.load(trained, device="cpu")
    assert model.dim == 64
    assert model.encode_text(["a red dress"]).shape == (1, 64)
    judged = run("evaluate", f"run={trained}", "split=test", folder="judged")
    here, there = metrics(trained), metrics(judged)
    common = [key for key in there if key in here and there[key]["n"]]
    assert len(common) > 50
    assert all(there[key]["value"] == pytest.approx(here[key]["value"]) for key in common)
    assert len(fashret.search(trained, text="a red dress", k=3)) == 3
    out = run.at("exported")
    run("export", f"run={trained}", f"out={out}", "half=false", small=False)
    whole = open_clip.create_model(f"local-dir:{out}").eval()
    tokens = model.backbone.tokenize(["a red dress"])
    with torch.no_grad():
        exported = torch.nn.functional.normalize(whole.encode_text(tokens), dim=-1)
    assert np.allclose(exported.numpy(), model.encode_text(["a red dress"]), atol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        ("loss=attribute_aware",),
        ("loss=arcface", "task=product"),
        ("loss=distilled",),
        ("task=product", "loss=supcon", "model.train=lora", "model.chunk=8"),
        ("'task=[caption,product]'",),
    ],
    ids=" ".join,
)
def test_losses_and_tasks_learn_fewer_dimensions(run: Run, overrides: tuple[str, ...]) -> None:
    given = [override.strip("'") for override in overrides]
    trained = run("train", "model.dim=32", *given, "trainer.max_epochs=1", folder="trained")
    assert fashret.load(trained, device="cpu").dim == 32
    found = metrics(run("evaluate", f"run={trained}", "split=test", folder="judged"))
    key = "test/image/product/hit@10"
    assert found[key]["value"] == pytest.approx(metrics(trained)[key]["value"])


def test_the_first_dimensions_begin_with_what_the_untrained_ones_tell(run: Run) -> None:
    """Before it learns, an embedding of 128 of 256 axes ranks nearly as the whole one."""
    trained = run("train", "model.dim=128", "optimizer.lr=1e-12", "trainer.max_epochs=1")
    board = json.loads((trained / "scoreboard.json").read_text())
    deltas = [row["delta"] for row in board["watched"] if row["delta"] is not None]
    assert len(deltas) > 10
    assert max(map(abs, deltas)) < 0.1
    assert np.mean(np.abs(deltas)) < 0.03


def test_what_smaller_embeddings_cost_is_compared_with_the_whole_ones(run: Run) -> None:
    whole = metrics(run("evaluate", "split=test", folder="whole"))
    for compress in ("compress.vectors=int8", "compress.dim=32", "compress.vectors=binary"):
        folder = run("evaluate", "split=test", compress, folder=compress.rpartition("=")[2])
        board = json.loads((folder / "scoreboard.json").read_text())
        rows = [row for row in board["rows"] + board["watched"] if row["baseline"] is not None]
        assert len(rows) > 10
        for row in rows:
            assert row["baseline"] == pytest.approx(whole[row["key"]]["value"]), row["key"]
            assert row["delta"] == pytest.approx(row["value"] - row["baseline"], abs=1e-9)
        assert any(row["delta"] for row in rows) or "int8" in compress
        assert compress.rpartition("=")[2] in board["title"]


def test_what_the_whole_embeddings_score_again_costs_less(run: Run) -> None:
    whole = metrics(run("evaluate", "split=test", folder="whole"))
    found = {}
    for rescore in (0, 1, 1000):
        options = ("split=test", "compress.vectors=binary", f"compress.rescore={rescore}")
        found[rescore] = metrics(run("evaluate", *options, folder=f"rescored-{rescore}"))
    every = found[1000]  # all items are scored again
    assert {key: value["value"] for key, value in every.items()} == {
        key: value["value"] for key, value in whole.items()
    }
    errors = {
        rescore: np.nanmean([abs(values[key]["value"] - whole[key]["value"]) for key in KEYS])
        for rescore, values in found.items()
    }
    assert errors[0] > errors[1] > errors[1000] == 0.0
    board = json.loads((run.at("rescored-1") / "scoreboard.json").read_text())
    assert "binary, 1 rescored" in board["title"]


def test_products_are_ranked_in_full_however_few_items_are_scored_again(run: Run) -> None:
    by = ("split=train", "retrieval.by=product")
    whole = metrics(run("evaluate", *by, "allow_trained_items=true", folder="whole"))
    options = ("compress.vectors=int8", "compress.rescore=1", "allow_trained_items=true")
    found = metrics(run("evaluate", *by, *options, folder="rescored"))
    for metric in ("precision@10", "hit@10", "ndcg@10"):
        key = f"train/image/category/{metric}"
        assert found[key]["value"] == pytest.approx(whole[key]["value"], abs=0.03), key


def test_compressed_metrics_are_those_of_compressed_vectors(run: Run) -> None:
    """The same as judging the first dimensions of the catalog as vectors of others."""
    run("build_catalog", f"catalog.dir={run.at('catalog')}")
    catalog = open_catalog(run.at("catalog"))
    short = run.at("short")
    short.mkdir()
    np.save(short / "image.npy", catalog.image.numpy()[:, :24])
    np.save(short / "text.npy", catalog.text.numpy()[:, :24])
    Path(short / "ids.txt").write_text("\n".join(catalog.meta()["item_id"]))
    theirs = metrics(run("evaluate", "split=test", f"data.embeddings={short}", folder="theirs"))
    ours = metrics(run("evaluate", "split=test", "compress.dim=24", folder="ours"))
    for key, value in ours.items():
        if value["n"]:
            assert value["value"] == pytest.approx(theirs[key]["value"], abs=1e-6), key


def test_what_does_not_fit_is_refused(run: Run) -> None:
    for overrides, message in {
        ("model.dim=256",): r"model.dim=256: must be below 256",
        ("model.dim=0",): r"model.dim=0: must be at least 1",
        ("model.dim=32", "model.heads=false"): r"model.dim=32 makes new heads",
        ("loss=matryoshka", "loss.widths=[256]"): r"loss.widths=\[256\]: must be below .* 256",
    }.items():
        with pytest.raises(ConfigError, match=message):
            run("train", *overrides, folder="refused")
    with pytest.raises(ConfigError, match=r"compress: protocol=keyword compares whole embeddings"):
        run("evaluate", "compress.dim=32", "protocol=keyword", folder="refused")
    with pytest.raises(ConfigError, match=r"compress.rescore=3: the embeddings are whole"):
        run("evaluate", "compress.rescore=3", folder="refused")
    with pytest.raises(ConfigError, match=r"compress.dim=300: must be below 256"):
        run("evaluate", "compress.dim=300", folder="refused")
