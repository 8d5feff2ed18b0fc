"""Whole runs, in-process, on the small sample."""

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashret.errors import ConfigError
from support.commands import ONE_EPOCH, SCRATCH, Run, lines, metrics


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


def test_a_monitor_that_is_no_metric_is_named_before_training(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"monitors val/text/pair/mrr@7, which is not a metric"):
        run("train", "monitor=val/text/pair/mrr@7", *ONE_EPOCH)


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
