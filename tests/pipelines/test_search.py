"""Typed queries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fashret.data.photos import decode_photo
from fashret.reports.contact_sheet import photo_rows
from support.commands import ONE_EPOCH, SCRATCH, SMALL, Run, system_of

Drawn = Sequence[tuple[str, Sequence[tuple[bytes, str]]]]


def test_one_typed_query_needs_no_brackets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def rows(found: list[tuple[str, Any]]) -> Image.Image:
        drawn.extend(query for query, _ in found)
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr("fashret.pipelines.query_sheet.photo_rows", rows)
    run("evaluate", "queries='red dress'")
    run("evaluate", "queries=[red dress,501]")
    assert drawn == ["red dress", "red dress", "501"]


def best(run: Run, query: str, split: str) -> tuple[list[float], list[bytes], list[str]]:
    """The scores, photos and texts of the eight best items for a text, by a plain sort."""
    given = [*SMALL, f"paths.output_dir={run.at('none')}", f"paths.cache_dir={run.cache_dir}"]
    system = system_of("evaluate", [*given, "device=cpu"])
    table, rows = system.session.table, system.session.rows(split)
    scores = system.embeddings.image[torch.from_numpy(rows)].float() @ system.towers.embed_texts(
        [query]
    ).squeeze(0)
    order = scores.argsort(descending=True, stable=True)[:8]
    found = [int(row) for row in rows[order.numpy()]]
    texts = table.column("text")
    return scores[order].tolist(), [table.photo(row) for row in found], [texts[r] for r in found]


def photos_in(picture: Image.Image, rows: Drawn) -> int:
    """How many photos of some rows stand in a picture, from left to right and top to bottom.

    A cell is 132 wide, and 8 of them with a gap of 12 fill the width; a row is 228 high. A photo
    that is another one differs by much more than what JPEG loses.
    """
    found = 0
    for y, (_, photos) in enumerate(rows):
        for x, (encoded, _) in enumerate(photos):
            photo = ImageOps.contain(decode_photo(encoded), (120, 160))
            left, top = 12 + 132 * x + (120 - photo.width) // 2, 12 + 228 * y + 28
            cell = picture.crop((left, top, left + photo.width, top + photo.height))
            found += float(np.abs(np.array(cell, float) - np.array(photo, float)).mean()) < 8
    return found


def test_typed_queries_are_drawn_with_what_they_find(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["red dress", "striped shirt", "blue denim"]
    queries = f"queries=[{','.join(asked)}]"
    drawn: list[Drawn] = []

    def kept(rows: Drawn) -> Image.Image:
        drawn.append(rows)
        return photo_rows(rows)

    monkeypatch.setattr("fashret.pipelines.query_sheet.photo_rows", kept)
    for model in (("model.train=heads",), SCRATCH):
        trained = run("train", *model, *ONE_EPOCH, folder=f"run-{len(model)}")
        judged = run(
            "evaluate", f"run={trained}", queries, folder=f"judged-{len(model)}", small=False
        )
        with Image.open(judged / "queries.jpg") as picture:
            assert picture.width > 8 * 120
            assert picture.height > 3 * 160
            assert photos_in(picture, drawn[-1]) == 3 * 8
        assert [query for query, _ in drawn[-1]] == asked
        for _, photos in drawn[-1]:
            scores = [float(caption.split(" ")[0]) for _, caption in photos]
            assert len(scores) == 8
            assert scores == sorted(scores, reverse=True)
    plain = run("evaluate", queries, folder="plain")
    assert (plain / "queries.jpg").is_file()
    for query, photos in drawn[-1]:
        scores, images, texts = best(run, query, "validation")
        assert [photo for photo, _ in photos] == images
        assert [caption.split(" ", 1)[1] for _, caption in photos] == texts
        shown = [float(caption.split(" ")[0]) for _, caption in photos]
        assert shown == pytest.approx(scores, abs=0.006)
