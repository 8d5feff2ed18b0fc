"""What is shown when a sweep has ended."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fashret.cli.sweep import SweepTable


def job(folder: Path, overrides: list[str], *rows: tuple[str, float | None, str]) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    if rows:
        held = [
            {"name": name, "delta": delta, "low": -0.01, "high": 0.09, "verdict": verdict}
            for name, delta, verdict in rows
        ]
        (folder / "scoreboard.json").write_text(json.dumps({"rows": held, "watched": []}))


def finish(folder: Path) -> None:
    config: Any = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}})
    SweepTable().on_multirun_end(config)


def test_a_finished_sweep_shows_its_jobs_beside_one_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neckline, shorts = "image/neckline/precision@10", "image/category/precision@10[shorts]"
    for number in range(11):  # in the order of numbers, not of names
        job(
            tmp_path / str(number),
            ["trainer.max_epochs=2", f"seed={number}"],
            (neckline, 0.05 + number / 100, "met"),
            (shorts, None, "insufficient"),
        )
    job(tmp_path / "11", ["trainer.max_epochs=2", "loss=broken"])
    finish(tmp_path)
    lines = (tmp_path / "sweep.md").read_text().splitlines()
    assert lines[0] == f"| job | met | {neckline} | {shorts} |"
    assert lines[2] == "| 0: seed=0 | 1/2 | +5.0 (-1.0, +9.0) + | ? |"
    assert lines[12].startswith("| 10: seed=10 | 1/2 | +15.0")
    assert lines[13] == "| 11: loss=broken | no result |  |  |"
    shown = capsys.readouterr().out
    assert "10: seed=10" in shown
    assert "sweep.md" in shown


def test_a_sweep_without_scoreboards_shows_nothing(tmp_path: Path) -> None:
    job(tmp_path / "0", ["seed=1"])
    finish(tmp_path)
    assert not (tmp_path / "sweep.md").exists()
