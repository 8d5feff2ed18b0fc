"""Embeddings of others are judged, compared, searched, and have heads trained on them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import fashret
from fashret.catalog.folder import open_catalog
from fashret.errors import CheckpointError, ConfigError, DataError
from support.commands import Run, metrics

pytestmark = pytest.mark.run


@pytest.fixture
def vectors(run: Run) -> Path:
    """The product's own embeddings of the sample, exported in another order."""
    run("build_catalog", f"catalog.dir={run.at('catalog')}")
    catalog = open_catalog(run.at("catalog"))
    ids = catalog.meta()["item_id"].to_numpy()
    order = np.random.default_rng(0).permutation(len(ids))
    columns = {
        "item_id": ids[order],
        "image_embedding": list(catalog.image.numpy()[order]),
        "text_embedding": list(catalog.text.numpy()[order]),
    }
    path = run.at("vectors.parquet")
    pq.write_table(pa.table(columns), path)
    return path


def test_imported_embeddings_are_judged_as_their_own_run(run: Run, vectors: Path) -> None:
    own = metrics(run("evaluate", "split=test", folder="own"))
    for name, overrides in {
        "as_data": [f"data.embeddings={vectors}"],
        "as_run": [f"run={vectors}"],
    }.items():
        theirs = metrics(run("evaluate", "split=test", *overrides, folder=name))
        assert theirs.keys() == own.keys()
        assert sum(value["n"] > 0 for value in own.values()) > 100
        for key, value in own.items():
            if value["n"]:
                assert theirs[key]["value"] == pytest.approx(value["value"], abs=1e-6), key
                assert theirs[key]["low"] == pytest.approx(value["low"], abs=1e-6), key
    stored = json.loads((run.at("as_data") / "metrics.json").read_text())
    assert stored["model"] == "embeddings-vectors"


def test_they_are_compared_with_a_run(run: Run, vectors: Path) -> None:
    run("train", "trainer.max_epochs=1", folder="trained")
    run("evaluate", f"run={run.at('trained')}", f"baseline={vectors}", folder="compared")
    board = json.loads((run.at("compared") / "scoreboard.json").read_text())
    rows = {row["key"]: row for row in board["rows"] + board["watched"]}
    assert len(rows) > 5
    # The run was trained from the model that made the vectors: its own baseline.
    own = json.loads((run.at("trained") / "scoreboard.json").read_text())
    deltas = {row["key"]: row["delta"] for row in own["rows"] + own["watched"]}
    common = [name for name in rows if deltas.get(name) is not None]
    assert len(common) > 5
    for name in common:
        assert rows[name]["delta"] == pytest.approx(deltas[name], abs=1e-6), name


def test_heads_are_trained_on_them_and_searched(run: Run, vectors: Path) -> None:
    trained = run(
        "train", f"data.embeddings={vectors}", "trainer.max_epochs=2", "loss=supcon",
        "task=product", folder="trained",
    )  # fmt: skip
    before = metrics(run("evaluate", f"data.embeddings={vectors}", "split=test", folder="before"))
    after = metrics(run("evaluate", f"run={trained}", "split=test", folder="after"))
    changed = [key for key in before if before[key]["value"] != after[key]["value"]]
    assert changed  # the heads have learned something
    table = pd.read_parquet(vectors).set_index("item_id")
    item = table.index[5]
    by_vector = fashret.search(trained, image=np.array(table["image_embedding"][item]), k=3)
    by_item = fashret.search(trained, item=item, k=3)
    assert by_vector.ids == by_item.ids
    assert by_item.ids[0] == item
    assert by_item.scores[0] == pytest.approx(1.0, abs=1e-5)
    assert by_item.query == f"item {item}"
    text = fashret.search(trained, text=np.array(table["text_embedding"][item]), k=96)
    # By hand: the trained heads over the imported vectors.
    state = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
    (learned,) = (value for key, value in state.items() if key.endswith("image_head.weight"))
    assert not any("text_head" in key for key in state)  # a task of photos leaves it as it is
    photos = torch.from_numpy(np.stack(table["image_embedding"])) @ learned.T
    query = torch.from_numpy(np.array(table["text_embedding"][item]))
    scores = torch.nn.functional.normalize(photos, dim=-1) @ torch.nn.functional.normalize(
        query, dim=-1
    )
    expected = [table.index[row] for row in scores.argsort(descending=True)[:5].tolist()]
    assert text.ids[:5] == expected
    with pytest.raises(ConfigError, match="texts cannot be embedded; give a query as an item of"):
        fashret.search(trained, text="a red dress")
    with pytest.raises(ConfigError, match=r"256 finite numbers.* this one is of shape \(3,\)"):
        fashret.search(trained, image=np.zeros(3))
    with pytest.raises(ConfigError, match="item=nobody is not in the index"):
        fashret.search(trained, item="nobody")


def test_photos_alone_have_no_metrics_of_texts(run: Run, vectors: Path) -> None:
    table = pd.read_parquet(vectors)
    path = run.at("photos.jsonl")
    rows = zip(table["item_id"], table["image_embedding"], strict=True)
    path.write_text("".join(json.dumps({"id": i, "vector": v.tolist()}) + "\n" for i, v in rows))
    found = metrics(run("evaluate", f"data.embeddings={path}", "split=test", folder="photos"))
    own = metrics(run("evaluate", "split=test", folder="own"))
    assert {key.split("/")[1] for key in found} == {"image"}
    for key, value in found.items():
        if value["n"]:
            assert value["value"] == pytest.approx(own[key]["value"], abs=1e-6)


def test_what_does_not_fit_is_refused(run: Run, vectors: Path) -> None:
    with pytest.raises(DataError, match=r"lacks the vectors of \d+ of 120 items"):
        run("evaluate", f"data.embeddings={vectors}", "data.products=60", folder="a")
    with pytest.raises(ConfigError, match=r"model.train=all: data.embeddings has no towers"):
        run("train", f"data.embeddings={vectors}", "model.train=all", folder="b")
    with pytest.raises(ConfigError, match="task=search_log needs a text tower for its queries"):
        run("train", f"data.embeddings={vectors}", "task=search_log", folder="b")
    trained = run("train", f"data.embeddings={vectors}", "trainer.max_epochs=1", folder="trained")
    with pytest.raises(ConfigError, match=r"was trained on data.embeddings=.*: give data"):
        run("evaluate", f"run={trained}", "data=sample", folder="c")
    with pytest.raises(ConfigError, match="comes without its model"):
        fashret.load(trained)


def test_items_without_a_vector_of_their_text_do_not_ask(
    run: Run, vectors: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = pd.read_parquet(vectors)
    half = table["text_embedding"].where(np.arange(len(table)) % 2 == 0, None)
    table["text_embedding"] = half
    table.to_parquet(run.at("half.parquet"))
    given = ("split=test", f"data.embeddings={run.at('half.parquet')}")
    found = metrics(run("evaluate", *given, folder="half"))
    own = metrics(run("evaluate", "split=test", folder="own"))
    key = "test/text/pair/hit@10"
    assert 0 < found[key]["n"] < own[key]["n"]
    assert f"lacks the vectors of {len(table) // 2} texts" in caplog.text


def test_a_run_with_trained_towers_is_compared_with_embeddings(run: Run, vectors: Path) -> None:
    trained = run("train", "model.train=all", "trainer.max_epochs=1", folder="trained")
    given = (f"data.embeddings={vectors}", f"baseline={trained}", "split=test")
    run("evaluate", *given, folder="compared")
    board = json.loads((run.at("compared") / "scoreboard.json").read_text())
    own = metrics(run("evaluate", f"run={trained}", "split=test", folder="own"))
    rows = [row for row in board["rows"] + board["watched"] if row["baseline"] is not None]
    assert len(rows) > 5
    for row in rows:
        assert row["baseline"] == pytest.approx(own[row["key"]]["value"], abs=1e-6), row["key"]


def test_what_needs_towers_says_so(run: Run, vectors: Path) -> None:
    with pytest.raises(ConfigError, match=r"run=.*vectors.parquet are embeddings: give data.embed"):
        run("build_catalog", f"run={vectors}")
    with pytest.raises(ConfigError, match=r"names 'neckline'; the model has no attribute heads"):
        run("evaluate", f"run={vectors}", "retrieval.weights={neckline: 1.0}", folder="a")
    trained = run("train", f"data.embeddings={vectors}", "trainer.max_epochs=1", folder="trained")
    with pytest.raises(ConfigError, match=r"heads over .* and no towers to export"):
        run("export", f"run={trained}", f"out={run.at('out')}", small=False)


def test_a_catalog_of_imported_embeddings_grows(run: Run, vectors: Path) -> None:
    folder = run.at("theirs")
    run("build_catalog", f"data.embeddings={vectors}", f"catalog.dir={folder}")
    table = pd.read_parquet(vectors)
    other = run.at("new.parquet")
    table.assign(image_embedding=[-v for v in table["image_embedding"]]).to_parquet(other)
    run("build_catalog", f"data.embeddings={other}", f"catalog.dir={folder}")
    catalog = open_catalog(folder)
    assert catalog.version == 2
    by_id = table.set_index("item_id")["image_embedding"]
    assert np.allclose(catalog.image[0], -by_id[catalog.meta()["item_id"][0]], atol=1e-6)


def test_a_run_is_not_resumed_over_other_vectors(run: Run, vectors: Path) -> None:
    given = (f"data.embeddings={vectors}",)
    trained = run("train", *given, "trainer.max_epochs=1", folder="trained")
    run("train", *given, "trainer.max_epochs=2", f"resume={trained}", folder="trained")
    table = pd.read_parquet(vectors)
    table.assign(image_embedding=[-v for v in table["image_embedding"]]).to_parquet(vectors)
    with pytest.raises(CheckpointError, match="has other vectors than those that the run"):
        run("train", *given, "trainer.max_epochs=3", f"resume={trained}", folder="trained")
