"""gallery.html against what the evaluation wrote elsewhere."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fashret.errors import ConfigError
from fashret.reports.gallery import Gallery
from fashret.reports.web import render
from support.commands import Run


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script is given."""
    found = re.search(r"const DATA = (.*?); const PHOTOS = (.*?);</script>", page.read_text())
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    data["photos"] = json.loads(found[2])
    return data


def found_ids(data: dict[str, Any], system: int) -> dict[tuple[str, str], list[str]]:
    """By mode and query the items that a system found."""
    ids = [item["id"] for item in data["items"]]
    return {
        (query["mode"], ids[query["item"]]): [ids[hit[0]] for hit in query["found"][system]]
        for query in data["queries"]
    }


def test_it_shows_what_queries_found(run: Run) -> None:
    folder = run("evaluate", "gallery=true", "report.gallery.queries=20", "report.gallery.hits=5")
    data = data_of(folder / "gallery.html")
    table = pd.read_parquet(folder / "per_query_results.parquet").set_index(["mode", "query_id"])
    assert Counter(query["mode"] for query in data["queries"]) == {"image": 10, "text": 10}
    for key, ids in found_ids(data, 0).items():
        assert ids == list(table.loc[key].retrieved_ids[:5])
    ids = [item["id"] for item in data["items"]]
    for query in data["queries"]:
        row = table.loc[query["mode"], ids[query["item"]]]
        for rank, (_, score, _, _, matching) in enumerate(query["found"][0]):
            assert score == pytest.approx(row.scores[rank], abs=1e-3)
            right = {name for name in data["relevances"] if f"hits_{name}" in row.index}
            right = {name for name in right if row[f"hits_{name}"] is not None}
            assert set(matching) == {name for name in right if row[f"hits_{name}"][rank]}
    assert len(data["photos"]) == len(data["items"])
    assert all(photo.startswith("data:image/jpeg;base64,/9j/") for photo in data["photos"])


def test_the_baseline_stands_beside_the_model(run: Run) -> None:
    trained = run("train", "trainer.max_epochs=1", "gallery=true", folder="trained")
    plain = run("evaluate", "split=test", folder="plain")
    data = data_of(trained / "gallery.html")
    assert len(data["systems"]) == 2
    table = pd.read_parquet(plain / "per_query_results.parquet").set_index(["mode", "query_id"])
    for key, ids in found_ids(data, 1).items():
        assert ids == list(table.loc[key].retrieved_ids)


def test_every_category_has_its_turn_and_weak_ones_come_first(run: Run) -> None:
    folder = run(
        "evaluate", "gallery=true", "report.gallery.queries=12", "report.gallery.modes=[image]"
    )
    data = data_of(folder / "gallery.html")
    shown = [data["items"][query["item"]]["values"]["category"] for query in data["queries"]]
    metrics = json.loads((folder / "metrics_by_category.json").read_text())
    key = "val/image/category/precision@10[{}]"
    values = {name: by_key[key.format(name)]["value"] for name, by_key in metrics.items()
              if name != "macro"}  # fmt: skip
    counts = Counter(shown)
    assert max(counts.values()) - min(counts.values()) <= 1
    weakness = [values[name] for name in dict.fromkeys(shown) if values[name] is not None]
    assert weakness == sorted(weakness)


def test_a_text_never_becomes_markup() -> None:
    hostile = "</script><img src=x onerror=alert(1)>'\"&"
    page = render("gallery.html", title=hostile, data={"systems": [hostile]}, photos=[])
    assert "<img src=x" not in page
    assert page.count("</script>") == 2


def test_what_cannot_be_shown_is_said() -> None:
    good = {"queries": 10, "hits": 5, "modes": ["image"], "thumbnail": 96, "seed": 0}
    Gallery(**good)
    for wrong in ({"modes": ["picture"]}, {"queries": 0}, {"thumbnail": 4}, {"modes": []}):
        with pytest.raises(ConfigError, match="gallery"):
            Gallery(**(good | wrong))
