"""Blocks of attributes weighted by the query, one catalog for all."""

import json

import pytest
import torch

from fashret.catalog.folder import open_catalog
from fashret.errors import ConfigError
from fashret.models.retriever import Retriever
from support.commands import Run

BLOCKS = ("model.attribute_blocks={neckline: 8, material: 4}", "trainer.max_epochs=2")


def test_one_catalog_serves_every_weighting(run: Run) -> None:
    train = run("train", *BLOCKS, folder="train")
    curves = json.loads((train / "steering.json").read_text())
    assert [curve["attribute"] for curve in curves] == ["neckline", "material"]
    metrics = json.loads((train / "metrics.json").read_text())["metrics"]
    for curve in curves:
        assert curve["points"][0]["value"] == metrics[curve["key"]]["value"]
        assert curve["points"][0]["cost"] == 0.0
        assert all(point["cost"] >= 0.0 for point in curve["points"])
        assert curve["points"][-1]["value"] != curve["points"][0]["value"]
    given = [f"run={train}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    weighted = run("evaluate", *given, folder="weighted")
    found = json.loads((weighted / "metrics.json").read_text())["metrics"]
    at_one = next(p for p in curves[0]["points"] if p["weight"] == 1.0)
    assert found["val/image/neckline/precision@10"]["value"] == at_one["value"]
    shown = run("evaluate", f"run={train}", folder="shown")  # judges test, and chooses weights on
    again = json.loads((shown / "steering.json").read_text())  # validation, as the run did
    assert again == curves
    folder = run.at("catalog")
    run("build_catalog", f"run={train}", f"catalog.dir={folder}", folder="build")
    catalog = open_catalog(folder)
    base = catalog.manifest["blocks"]["general"][1]
    assert catalog.manifest["blocks"] == {
        "general": [0, base], "neckline": [base, base + 8], "material": [base + 8, base + 12],
    }  # fmt: skip
    assert catalog.image.shape[1] == base + 12
    given = [f"run={folder}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    stored = run("evaluate", *given, folder="stored")
    found = json.loads((stored / "metrics.json").read_text())["metrics"]
    assert found["val/image/neckline/precision@10"]["value"] == pytest.approx(
        at_one["value"], abs=1e-3
    )
    assert torch.allclose(catalog.image.norm(dim=1), torch.ones(len(catalog)), atol=1e-4)
    assert dict(Retriever(*catalog.heads).layout.columns) == dict(catalog.layout.columns)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.attribute_blocks={necklin: 8}"], "model.attribute_blocks names necklin"),
        (["model.attribute_blocks={neckline: 999}"], "must be at most 256"),
        (["retrieval.weights={neckline: 1}"], "retrieval.weights names 'neckline'"),
    ],
)
def test_a_block_that_cannot_be_is_answered(run: Run, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("train", *overrides)
