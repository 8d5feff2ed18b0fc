"""Typed queries."""

from typing import Any

import pytest
from PIL import Image

from support.commands import ONE_EPOCH, SCRATCH, Run


def test_one_typed_query_needs_no_brackets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def rows(found: list[tuple[str, Any]]) -> Image.Image:
        drawn.extend(query for query, _ in found)
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr("fashret.pipelines.search.photo_rows", rows)
    run("evaluate", "queries='red dress'")
    run("evaluate", "queries=[red dress,501]")
    assert drawn == ["red dress", "red dress", "501"]


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
