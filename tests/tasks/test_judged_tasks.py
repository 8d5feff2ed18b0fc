"""Search logs and composed queries: trained, monitored, evaluated, and come back from a run."""

import json
from pathlib import Path

import pytest
import torch

from fashret.errors import CheckpointError, ConfigError, DataError
from fashret.models.checkpoint import is_text_weight, read_checkpoint
from support.commands import Run, lines, metrics
from support.judged import small_table, write_log, write_triples

pytestmark = pytest.mark.usefixtures("stand_ins")

TOWERS = ("model.pretrained=null", "model.train=all", "trainer.max_epochs=2")


@pytest.fixture
def log(run: Run, tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.csv", small_table(run.cache_dir))


@pytest.fixture
def triples(run: Run, tmp_path: Path) -> Path:
    return write_triples(tmp_path / "triples.csv", small_table(run.cache_dir))


@pytest.mark.parametrize("towers", [True, False])
def test_a_search_log_is_learned_and_evaluated(run: Run, log: Path, towers: bool) -> None:
    options = TOWERS if towers else ("trainer.max_epochs=2",)
    folder = run("train", "task=search_log", f"data.judgments={log}", "miner=hard", *options)
    config, state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert list(config["task"]) == ["search_log"]
    learned = [name.removeprefix("retriever.") for name in state]
    assert any(map(is_text_weight, learned))
    last = lines(folder)[-1]
    assert "val/text/judged/ndcg@10" in last
    found = metrics(folder)
    assert last["val/text/judged/ndcg@10"] == pytest.approx(
        found["val/text/judged/ndcg@10"]["value"], abs=1e-6
    )
    result = found["test/text/judged/ndcg@10"]
    assert result["n"] > 0
    assert 0.0 <= result["low"] <= result["value"] <= result["high"] <= 1.0
    bands = [found[f"test/text/judged/ndcg@10[{band}]"]["n"] for band in ("head", "torso", "tail")]
    assert sum(bands) == result["n"]
    again = run("evaluate", f"run={folder}", f"baseline={folder}", folder="again")
    assert metrics(again)["test/text/judged/ndcg@10"] == result
    assert (folder / "mining" / "hard_negatives_of_queries.parquet").is_file()
    assert not (folder / "mining" / "hard_negatives.parquet").exists()


@pytest.mark.parametrize("composer", ["sum", "gated"])
def test_composed_queries_are_learned_and_evaluated(run: Run, triples: Path, composer: str) -> None:
    given = ("task=composed", f"task.composed.composer={composer}", f"data.triples={triples}")
    folder = run("train", *given, "trainer.max_epochs=2")
    config, state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert config["model"]["composer"] == composer
    weights = {n: w for n, w in state.items() if n.startswith("retriever.composer.")}
    assert len(weights) == (1 if composer == "sum" else 6)
    if composer == "sum":
        assert not torch.equal(weights["retriever.composer.weights"], torch.ones(2))
    found = metrics(folder)
    result = found["test/composed/judged/hit@10"]
    assert result["n"] > 0
    assert lines(folder)[-1]["val/composed/judged/mrr@10"] == pytest.approx(
        found["val/composed/judged/mrr@10"]["value"], abs=1e-6
    )
    again = run("evaluate", f"run={folder}", folder="again")
    assert metrics(again)["test/composed/judged/hit@10"] == result


def test_a_catalog_is_compared_without_judged_queries(run: Run, log: Path) -> None:
    given = ("task=search_log", f"data.judgments={log}", "trainer.max_epochs=1")
    folder = run("train", *given)
    catalog = run.at("catalog")
    run("build_catalog", f"run={folder}", f"catalog.dir={catalog}", folder="build")
    out = run("evaluate", f"run={folder}", f"baseline={catalog}", "gallery=true", folder="both")
    rows = json.loads((out / "scoreboard.json").read_text())["watched"]
    (judged,) = (row for row in rows if row["name"] == "text/judged/ndcg@10")
    assert judged["baseline"] is judged["p"] is None
    assert judged["value"] is not None
    assert any(row["baseline"] is not None for row in rows)
    # A protocol splits the queries as the training did.
    again = run(
        "evaluate", f"run={folder}", "protocol=search_log", f"protocol.judgments={log}",
        "protocol.transform=log1p", folder="protocol",
    )  # fmt: skip
    found = metrics(again)["test/search_log/judged/ndcg@10"]
    assert found == metrics(folder)["test/text/judged/ndcg@10"]


def test_a_run_is_not_resumed_over_a_changed_log(run: Run, log: Path) -> None:
    given = ("task=search_log", f"data.judgments={log}")
    folder = run("train", *given, "trainer.max_epochs=1")
    more = (*given, "trainer.max_epochs=2", f"resume={folder}")
    run("train", *more)
    log.write_text(log.read_text().replace(",5,", ",1,"))
    with pytest.raises(CheckpointError, match=r"the judgments or triples .* are not those that it"):
        run("train", *more[:-2], "trainer.max_epochs=3", more[-1])


def test_a_target_may_be_of_the_tail(run: Run, log: Path) -> None:
    kind = "_target_: fashret.evaluation.targets.Target"
    target = f"+targets.tail={{{kind}, metric: 'text/judged/ndcg@10[tail]', rise: 0.9}}"
    given = ("task=search_log", f"data.judgments={log}", target, "trainer.max_epochs=1")
    rows = json.loads((run("train", *given) / "scoreboard.json").read_text())["rows"]
    assert "text/judged/ndcg@10[tail]" in [row["name"] for row in rows]


def test_documents_may_be_texts_and_photos_mixed(run: Run, log: Path) -> None:
    given = ("task=[search_log,caption]", f"data.judgments={log}", *TOWERS[:2])
    mixed = run("train", *given, "retrieval.documents=mixed", "trainer.max_epochs=1", folder="mix")
    photos = run("train", *given, "trainer.max_epochs=1", folder="photos")
    key = "train/search_log_loss_contrastive"
    assert lines(mixed)[-1][key] != lines(photos)[-1][key]
    assert "train/caption_loss_contrastive" in lines(mixed)[-1]
    one, two = (metrics(folder)["test/text/judged/ndcg@10"] for folder in (mixed, photos))
    assert one["n"] == two["n"]
    assert one["value"] != two["value"]


def test_a_task_without_its_file_is_refused_before_the_data(run: Run, log: Path) -> None:
    with pytest.raises(ConfigError, match=r"task=search_log needs data\.judgments=<file>"):
        run("train", "task=search_log")
    with pytest.raises(ConfigError, match=r"model\.composer=sum needs task=composed"):
        run("train", "model.composer=sum")
    with pytest.raises(ConfigError, match=r"task=caption: the loss classifies photos by their"):
        run("train", "loss=arcface")
    with pytest.raises(DataError, match=r"0 queries of the training split .* data\.triples must"):
        run("train", "task=composed", "monitor=val/image/product/mrr@10")
    with pytest.raises(DataError, match=r"no judged query of the split validation .*monitor=val/"):
        run("train", "task=composed")
    log.write_text("query,item_id,clicks,split\nred,nothing,1,train\n")
    with pytest.raises(DataError, match=r"none of its 1 judgments is of an item of the data"):
        run("train", "task=search_log", f"data.judgments={log}")
