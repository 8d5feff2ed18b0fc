"""A dry run: what it says of a run is what the run then does, and it does nothing itself."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fashret
from fashret.cli.options import Composed, train_options
from fashret.config import build
from fashret.errors import ConfigError, DataError
from fashret.evaluation.targets import Target
from fashret.models.backbone import Backbone
from fashret.pipelines.dry_run import dry_run
from fashret.reports.overview import Overview
from support.commands import QUIET, SMALL, Run, composed, metrics

pytestmark = pytest.mark.run


def described(*overrides: str, cache: Path, folder: Path) -> Overview:
    given = [f"paths.cache_dir={cache}", f"paths.output_dir={folder}", *QUIET, *overrides]
    found = dry_run(train_options(Composed.checked(composed("train", given), "train")))
    assert found is not None
    return found


def test_it_says_what_the_run_then_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = {"photos": 0, "texts": 0}
    image, text = Backbone.encode_image, Backbone.encode_text
    run.cache_dir = tmp_path / "cache"
    said = described(*SMALL, cache=run.cache_dir, folder=tmp_path / "out").sections
    assert not list(run.cache_dir.glob("catalogs/*"))
    assert not list(run.cache_dir.glob("features/*/*/vectors.bin"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["proposed"]

    def counted_image(self: Backbone, batch: "object") -> "object":
        encoded["photos"] += len(batch)  # type: ignore[arg-type]  # a tensor
        return image(self, batch)  # type: ignore[arg-type]

    def counted_text(self: Backbone, batch: "object") -> "object":
        encoded["texts"] += len(batch)  # type: ignore[arg-type]
        return text(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Backbone, "encode_image", counted_image)
    monkeypatch.setattr(Backbone, "encode_text", counted_text)
    folder = run("train", "trainer.max_epochs=1", "latency=false")
    assert said["Cost"][0].startswith(
        f"{encoded['photos']} photos and {encoded['texts']} texts are encoded first, once: about "
    )
    # every number of queries is that of the evaluation
    found = metrics(folder)
    lines = said["Evaluation (test)"]
    assert len(lines) == 3
    checked = 0
    for line in lines:
        query, _, counts = line.partition(" queries with something to find: ")
        for part in counts.split(", "):
            relevance, count = part.rsplit(" ", 1)
            name = next(key for key in found if key.startswith(f"test/{query}/{relevance}/hit@"))
            assert found[name]["n"] == int(count.replace("none", "0").replace(",", ""))
            checked += 1
    assert checked > 15
    again = described(*SMALL, cache=run.cache_dir, folder=tmp_path / "again").sections
    assert again["Cost"] == ["nothing is encoded: all photos and texts are stored"]


def test_proposed_targets_are_those_that_the_data_can_show(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    many = "data.products=480"
    described(many, cache=cache, folder=tmp_path / "out")
    given = composed("train", [many]).targets  # the sample's own
    assert "cardigans" in given
    folder = tmp_path / "out" / "proposed" / "targets"
    text = (folder / "proposed.yaml").read_text()
    proposed = {name: build(node) for name, node in OmegaConf.create(text).items()}
    assert all(isinstance(target, Target) for target in proposed.values())
    rises = {target.metric: target.rise for target in proposed.values()}
    assert rises["image/category/precision@10"] is None
    assert rises["text/pair/hit@10"] is None
    assert rises["image/colour/precision@10"] == 0.05
    # of few queries nothing is proposed
    described(*SMALL, cache=cache, folder=tmp_path / "few")
    few = (tmp_path / "few" / "proposed" / "targets" / "proposed.yaml").read_text()
    assert "_target_" not in few


def test_what_would_end_the_run_ends_it(tmp_path: Path) -> None:
    options = {"cache": tmp_path / "cache", "folder": tmp_path / "out"}
    with pytest.raises(ConfigError, match=r"task=search_log needs data.judgments"):
        described(*SMALL, "task=search_log", **options)
    with pytest.raises(DataError, match=r"data.root=nowhere"):
        described("data=folder", "data.root=nowhere", **options)
    with pytest.raises(ConfigError, match="dry_run=true trains nothing: it is for the command"):
        fashret.train("dry_run=true", *SMALL)


def test_the_command_prints_it(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    folder = run("train", "dry_run=true")
    printed = capsys.readouterr().out
    for heading in ("Items", "Texts", "Attributes", "Training", "Evaluation (test)", "Cost"):
        assert f"\n{heading}\n" in f"\n{printed}"
    paths = [line for line in printed.splitlines() if str(folder) in line]
    assert all(len(line) <= 60 for line in printed.splitlines() if line not in paths)
    assert not (folder / "metrics.json").exists()
