"""A run, a checkpoint and a catalog of the first edition load, resume and evaluate."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import fashret
from fashret.allowlist import allowed_target
from fashret.evaluation.targets import Target
from fashret.renamed import current_target
from support.commands import Run, lines, metrics
from support.project import ROOT

pytestmark = pytest.mark.run

FIRST = ROOT / "tests" / "fixtures" / "first_edition"
OLD = ("data.products=48", "data.views=1")


def test_a_run_gives_the_numbers_that_it_gave(run: Run) -> None:
    """Those of its own metrics.json, which the first edition wrote."""
    out = run("evaluate", f"run={FIRST / 'run'}", "retrieval.resamples=50", small=False)
    before = metrics(FIRST / "run")
    now = metrics(out)
    compared = [key for key in before if key.startswith("test/") and before[key]["n"]]
    assert len(compared) > 50
    for key in compared:
        assert now[key]["value"] == pytest.approx(before[key]["value"], abs=1e-6), key
        assert now[key]["n"] == before[key]["n"]


def test_a_run_is_resumed(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FIRST / "run", folder)
    names = [line["epoch"] for line in lines(folder)]
    result = fashret.train(
        f"resume={folder}", "trainer.max_epochs=2", "device=cpu", "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert result.folder == folder
    assert [line["epoch"] for line in lines(folder)] == [*names, 2]


def test_a_checkpoint_is_loaded() -> None:
    path = FIRST / "run" / "checkpoints" / "last.ckpt"
    model = fashret.load(path, device="cpu")
    weight = torch.load(path, weights_only=True)["state_dict"]["retriever.image_head.weight"]
    assert torch.equal(model.image_head.weight, weight)
    assert model.encode_text(["a dress"]).shape == (1, 256)


def test_a_catalog_is_evaluated_and_searched(run: Run) -> None:
    out = run("evaluate", f"run={FIRST / 'catalog'}", *OLD, "retrieval.resamples=50", small=False)
    assert metrics(out)["test/text/pair/hit@10"]["n"] > 0
    found = fashret.search(FIRST / "catalog", text="a red dress", k=3)
    assert len(found) == 3
    manifest = json.loads((FIRST / "catalog" / "manifest.json").read_text())
    assert manifest["count"] == 48


def test_old_names_stand_for_todays_and_are_allowed_as_these() -> None:
    assert allowed_target("fashret.reports.targets.Target") is Target
    for old in (
        "fashret.protocols.Keyword", "fashret.metrics.options.RetrievalOptions",
        "fashret.data.attributes.Schema", "fashret.data.groups.Grouping",
        "fashret.data.captions.Captions", "fashret.data.balance.Balance",
    ):  # fmt: skip
        assert allowed_target(old).__name__ == old.rpartition(".")[2]
    assert current_target("os.system") == "os.system"
