"""report/index.html, and the measures that only it shows."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fashret.data.items import ItemTable
from support.commands import Run

pytestmark = pytest.mark.run


def facts_of(page: Path) -> dict[str, Any]:
    """What the page's charts are given."""
    found = re.search(r"const FACTS = (.*?);</script>", page.read_text())
    assert found is not None
    facts: dict[str, Any] = json.loads(found[1])
    return facts


@pytest.fixture(scope="module")
def trained(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run(tmp_path_factory.mktemp("report"), cache_dir)
    return run("train", "trainer.max_epochs=2", "loss=attribute_aware", "gallery=true")


def test_it_needs_nothing_but_its_folder(trained: Path) -> None:
    page = (trained / "report" / "index.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    beside = [name for name in sources if not name.startswith(("#", "data:"))]
    assert "../gallery.html" in beside
    for name in beside:
        assert (trained / "report" / name).resolve().is_file()
    assert "http" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.S)


def test_it_says_what_the_scoreboard_says(trained: Path) -> None:
    page = (trained / "report" / "index.html").read_text().replace("<wbr>", "")
    board = json.loads((trained / "scoreboard.json").read_text())
    reached = [row for row in board["rows"] if row["verdict"] in ("met", "proved")]
    assert f"<b>{len(reached)} of {len(board['rows'])} targets met.</b>" in page
    for row in board["rows"]:
        cells = re.search(
            rf"<tr><th scope=\"row\">{re.escape(row['name'])}</th>(.*?)</tr>", page, re.S
        )
        assert cells is not None
        values = re.findall(r"<td[^>]*>(.*?)</td>", cells[1])
        assert values[0] == row["target"]
        shown = [row["baseline"], row["value"]]
        assert values[1:3] == ["-" if x is None else f"{100 * x:.1f}" for x in shown]
        assert values[-1] == row["verdict"]


def test_the_curves_are_those_of_the_log(trained: Path) -> None:
    facts = facts_of(trained / "report" / "index.html")
    lines = [json.loads(line) for line in (trained / "train_log.jsonl").read_text().splitlines()]
    shown = {
        (p["epoch"], p["name"], p["slice"]): p["value"]
        for p in facts["epochs"]
        if p["kind"] == "precision"
    }
    assert {epoch for epoch, _, _ in shown} == {0, 1, 2}
    for line in lines:
        key = "val/image/neckline/precision@10"
        assert shown[line["epoch"], "neckline", ""] == line[key]
        for value in ("round", "v_neck"):
            assert shown[line["epoch"], "neckline", value] == line[f"{key}[{value}]"]
    losses = {p["name"] for p in facts["epochs"] if p["kind"] == "train"}
    assert {"loss_contrastive", "loss_attributes", "loss_anchor"} <= losses


def test_confusion_counts_what_was_found(trained: Path, cache_dir: Path) -> None:
    facts = facts_of(trained / "report" / "index.html")
    catalog = Path(json.loads((trained / "metrics.json").read_text())["catalog"])
    key = json.loads((catalog / "manifest.json").read_text())["data"]
    table = ItemTable(cache_dir / "data" / key, [])
    category = dict(zip(table.column("item_id"), table.column("category"), strict=True))
    queries = pd.read_parquet(trained / "per_query_results.parquet")
    queries = queries[(queries["mode"] == "image") & (queries["split"] == "test")]
    confusion = facts["confusion"]["category"]
    for i, asked in enumerate(confusion["values"]):
        mine = [ids for q, ids in zip(queries.query_id, queries.retrieved_ids, strict=True)
                if category[q] == asked]  # fmt: skip
        assert confusion["queries"][i] == len(mine)
        found = [category[item] for ids in mine for item in ids]
        for j, other in enumerate(confusion["values"]):
            share = found.count(other) / len(found)
            assert confusion["shares"][0][i][j] == pytest.approx(share, abs=1e-4)


def test_likeness_tells_a_product_from_chance(trained: Path) -> None:
    facts = facts_of(trained / "report" / "index.html")
    middles = (np.array(facts["edges"])[1:] + np.array(facts["edges"])[:-1]) / 2
    for kinds in facts["likeness"]:
        means = {kind: float(np.dot(middles, shares)) for kind, shares in kinds.items()}
        assert all(sum(shares) == pytest.approx(1, abs=1e-3) for shares in kinds.values())
        assert means["one product"] > means["at random"]


def test_metrics_without_a_value_are_named_and_not_tabled(run: Run) -> None:
    out = run("evaluate", "retrieval.exclude=product")  # nothing is left of a photo's product
    page = (out / "report" / "index.html").read_text().replace("<wbr>", "")
    assert "Without a value, because no query counts: image/product/hit@10" in page
    assert '<th scope="row">image/product/hit@10</th>' not in page
    assert '<th scope="row">text/product/hit@10</th>' in page
