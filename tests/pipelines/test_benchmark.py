"""Official protocols by their commands."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashret.config import build
from fashret.data.preparation import prepare
from fashret.errors import ConfigError, FashretError, RegressionError
from support.commands import SMALL, Run, composed, metrics
from support.official_sets import fashioniq, inshop, listed, saved, write
from support.sources import photo, rows


def table_of(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return held


SIZE = ["model.name=fashret-tiny", "data.num_workers=0", "retrieval.resamples=50"]


def test_inshop_by_its_command(run: Run, tmp_path: Path, capsys: Any) -> None:
    inshop(tmp_path / "set")
    out = run("evaluate", "protocol=inshop", "data=deepfashion_inshop", *SIZE,
              f"data.root={tmp_path / 'set'}", small=False)  # fmt: skip
    held = table_of(out)
    assert held["protocol"]["name"] == "inshop"
    assert held["protocol"]["tasks"]["query-to-gallery"] == {
        "queries": 8, "gallery": 8, "excluded": 0, "without_relevant_item": 0,
    }  # fmt: skip
    assert {"encoder", "preprocess", "split", "k"} <= set(held["protocol"])
    assert held["metrics"]["test/inshop/query-to-gallery/hit@10"]["value"] == 1.0  # all 8 are seen
    assert any("expected 52,712" in n or "expected 14,218" in n for n in held["notes"])
    # By hand from the catalog: the nearest gallery photo of each query
    catalog = Path(held["catalog"])
    meta = pd.read_parquet(catalog / "catalog_meta.parquet")
    image = np.load(catalog / "catalog_img.npy").astype(np.float64)
    queries, gallery = (np.flatnonzero(meta["role"] == role) for role in ("query", "gallery"))
    nearest = gallery[(image[queries] @ image[gallery].T).argmax(axis=1)]
    ids = meta["product_id"].to_numpy()
    expected = (ids[nearest] == ids[queries]).mean()
    assert held["metrics"]["test/inshop/query-to-gallery/hit@1"]["value"] == expected
    found = pd.read_parquet(out / "per_query_results.parquet")
    assert len(found) == 8
    assert "note: 16 train photos, expected 25,882" in capsys.readouterr().out
    assert "query-to-gallery" in (out / "protocol.md").read_text()


def test_consumer2shop_by_its_command(run: Run, tmp_path: Path) -> None:
    root, pairs = tmp_path / "set", []
    for product in range(6):
        names = [f"img/D/T/id_{product}/{kind}.jpg" for kind in ("comsumer_01", "shop_01")]
        for i, name in enumerate(names):
            photo(root / name, 2 * product + i)
        status = ("train", "val", "test")[product // 2]
        pairs.append(f"{names[0]} {names[1]} id_{product} {status}")
    listed(root / "Eval" / "list_eval_partition.txt", "a b c d", *pairs)
    out = run("evaluate", "protocol=consumer2shop", "data=deepfashion_consumer2shop", *SIZE,
              f"data.root={root}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["test/consumer2shop/query-to-gallery/hit@5"]["value"] == 1.0
    assert metrics["test/consumer2shop/query-to-gallery/hit@1"]["chance"] == 0.5


def test_lookbench_by_its_command(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "hub", query={"category": ["dress", "coat"]},
          gallery={"category": ["dress", "dress"]})  # fmt: skip
    out = run("evaluate", "protocol=lookbench", "data=lookbench", *SIZE,
              f"data.name={tmp_path / 'hub'}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["test/lookbench/coarse/hit@1"]["value"] == 0.5  # no coat in the gallery: 0


def test_marqo_by_its_command(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "hub", data={
        "item_ID": [f"{i}" for i in range(10)], "category2": ["Tees"] * 5 + ["Coats"] * 5,
        "text": [f"garment {i}" for i in range(10)],
    })  # fmt: skip
    truth = tmp_path / "truth"
    write(truth / "ground_truth_text-image.json",
          json.dumps({f"garment {i}": {f"{i}": 1} for i in range(10)}))  # fmt: skip
    write(truth / "ground_truth_category2-image+text.json",
          json.dumps({"Tees": {f"{i}": 1 for i in range(5)}}))  # fmt: skip
    out = run("evaluate", "protocol=marqo", "data=marqo", *SIZE, f"data.name={tmp_path / 'hub'}",
              f"protocol.ground_truth={truth}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["all/marqo/text-to-image/recall@10"]["value"] == 1.0
    assert metrics["all/marqo/category2-to-product/precision@10"]["value"] == 0.5
    assert "AvgRecall" in (out / "protocol.md").read_text()


def test_fashioniq_by_its_command(run: Run, tmp_path: Path) -> None:
    fashioniq(tmp_path / "set")
    out = run("evaluate", "protocol=fashioniq", "data=fashioniq", *SIZE,
              f"data.root={tmp_path / 'set'}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["val/fashioniq/dress (split gallery)/hit@10"]["value"] == 1.0
    assert metrics["val/fashioniq/dress (split gallery)/hit@10"]["n"] == 2


ATTRIBUTES = ["material", "pattern", "neckline", "sleeve", "colour"]
KEYWORDS = [
    "{category}", *(f"{{{name}}} {{category}}" for name in ATTRIBUTES),
    "{colour} {neckline} {category}", "{colour} {pattern} {category}",
]  # fmt: skip
"""The templates that the sample can fill: it states no gender."""

ROWS = {
    "paired": {f"{way}/hit@{k}" for way in ("text-to-image", "image-to-text") for k in (1, 5, 10)},
    "attribute_specific": {f"{name}/map" for name in ATTRIBUTES},
    "keyword": {
        f"{template}/{metric}@{k}"
        for template in KEYWORDS
        for metric in ("hit", "precision", "ndcg")
        for k in (1, 10)
    },
}


def asked(name: str, row: str, items: list[dict[str, Any]]) -> int:
    """How many queries a row of a protocol has over the items of a split."""
    if name == "paired":
        return sum(item["text"] != "" for item in items)
    if name == "attribute_specific":
        return sum(item[row.split("/")[0]] != "unknown" for item in items)
    names = re.findall(r"{(\w+)}", row)
    stated = {tuple(item[name] for name in names) for item in items}
    return sum("unknown" not in values for values in stated)


@pytest.mark.parametrize("name", ["paired", "attribute_specific", "keyword"])
def test_protocols_of_any_set_by_their_commands(name: str, run: Run) -> None:
    out = run("evaluate", f"protocol={name}")
    held = table_of(out)
    assert held["protocol"]["name"] == name
    found = {key.removeprefix(f"val/{name}/"): result for key, result in held["metrics"].items()}
    assert found.keys() == ROWS[name]
    cfg = composed("evaluate", [*SMALL, f"paths.output_dir={out}"])
    table = rows(prepare(build(cfg.data), run.cache_dir))
    items = [item for item in table.values() if item["split"] == "validation"]
    assert len(items) > 10
    for row, result in found.items():
        assert result["low"] <= result["value"] <= result["high"]
        assert result["n"] == asked(name, row, items) > 0, row


def test_a_run_is_compared_with_its_model_untrained(run: Run) -> None:
    towers = ("model.train=all", "optimizer.lr=1e-3", "trainer.max_epochs=1")
    trained = run("train", *towers, folder="trained")
    out = run("evaluate", "protocol=keyword", f"run={trained}", "split=test", folder="judged")
    assert "## Against the baseline" in (out / "protocol.md").read_text()
    # Typed texts of the baseline are embedded by the untrained towers, not by those of the run.
    alone = run("evaluate", "protocol=keyword", "split=test", folder="untrained")
    expected = {key: result["value"] for key, result in metrics(alone).items()}
    rows = json.loads((out / "scoreboard.json").read_text())["watched"]
    assert len(rows) > 5
    assert {row["key"]: row["baseline"] for row in rows} == {
        row["key"]: pytest.approx(expected[row["key"]], abs=1e-6) for row in rows
    }
    assert any(row["delta"] for row in rows)


def test_a_wrong_option_of_a_protocol_is_named(run: Run) -> None:
    with pytest.raises(FashretError, match="protocol"):
        run("evaluate", "protocol=paired", "+protocol.ks=[1]")
    with pytest.raises(FashretError, match="ground_truth"):
        run("evaluate", "protocol=marqo")


def test_a_benchmark_has_what_a_scoreboard_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts, a gallery, typed queries, a quick sample, targets, TensorBoard and an error."""
    monkeypatch.setattr("fashret.pipelines.evaluate.QUICK_QUERIES", 5)
    trained = run("train", "trainer.max_epochs=1", folder="trained")
    metric = "keyword/{category}/precision@10"
    kind = "_target_: fashret.evaluation.targets.Target"
    target = f"+targets.mine={{{kind}, metric: '{metric}', rise: 0.9}}"
    options = ["protocol=keyword", f"run={trained}", "gallery=true", "quick=true",
               "queries=red dress", target]  # fmt: skip
    out = run("evaluate", *options, folder="judged", small=False)
    board = json.loads((out / "scoreboard.json").read_text())
    assert [row["verdict"] for row in board["rows"]] == ["insufficient"]  # of 5 queries
    assert {row["key"].split("/")[1] for row in board["watched"]} == {"keyword"}
    assert all(row["n"] <= 5 for row in board["watched"])
    assert all(row["baseline"] is not None for row in board["watched"])
    page = (out / "gallery.html").read_text()
    found = pd.read_parquet(out / "per_query_results.parquet")
    assert len(found) > 5
    assert found["query_id"][0] in page
    assert (out / "queries.jpg").is_file()
    assert (out / "report" / "index.html").is_file()
    assert list((out / "tensorboard").glob("events*"))
    hard = [*options[:2], target, "fail_on_regression=true", "retrieval.resamples=50"]
    monkeypatch.setattr("fashret.evaluation.verdicts.ENOUGH_QUERIES", 1)
    monkeypatch.setattr("fashret.evaluation.verdicts.ENOUGH_PRODUCTS", 1)
    with pytest.raises(RegressionError, match=r"targets that are not met: keyword/\{category\}"):
        run("evaluate", *hard, folder="failed", small=False)
    wrong = f"+targets.mine={{{kind}, metric: keyword/x/hit@10, rise: 0.9}}"
    with pytest.raises(ConfigError, match="no such metric; did you mean keyword/"):
        run("evaluate", *options[:2], wrong, folder="wrong", small=False)
