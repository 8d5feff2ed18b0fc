"""What is shown when a sweep has ended."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fashret.cli.sweep import SweepTable
from support.project import ROOT
from support.terminal import output

pytestmark = pytest.mark.run

SWEEP = """
import sys
from omegaconf import OmegaConf
from fashret.cli.sweep import SweepTable
SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": sys.argv[1]}}}))
"""


@pytest.mark.parametrize("columns", [80, 100, 140, None])
def test_a_sweep_shows_every_job_and_each_of_eight_targets(
    columns: int | None, tmp_path: Path
) -> None:
    values = ["knitted cardigans with a hood", "shorts", "denim jackets", "kilts"]
    names = [f"image/category/precision@10[{value}]" for value in values]
    names += [f"{mode}/neckline/precision@10" for mode in ("image", "text", "fused")]
    names += ["text/pair/hit@10"]
    for number in range(3):
        folder = tmp_path / str(number)
        (folder / ".hydra").mkdir(parents=True)
        given = ["data=sample", f"loss=loss{number}", "optimizer.lr=0.00025"]
        (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(given))
        if number == 2:
            (folder / "failed.txt").write_text("data.root is not set: data.root=<folder>\n")
            continue
        rows = [
            {"name": name, "delta": (10 * number + i) / 100, "low": -0.013, "high": 0.097,
             "verdict": "met"}
            for i, name in enumerate(names)
        ]  # fmt: skip
        (folder / "scoreboard.json").write_text(json.dumps({"rows": rows, "watched": []}))
        objective = {"monitor": "val/text/pair/mrr@10", "value": 0.5 + number / 100}
        (folder / "objective.json").write_text(json.dumps(objective))
    status, text = output(["-c", SWEEP, str(tmp_path)], columns)
    assert status == 0, text
    text = text.partition("targets: ++")[0]
    assert max(map(len, text.splitlines())) <= (columns or 100)
    assert "…" not in text
    for number in range(2):
        assert f"{number}: loss=loss{number}" in text
        assert f"{50 + number}.00" in text
        for i in range(8):
            assert f"+{10 * number + i}.0 +" in text
    assert text.count("(-1.3, +9.7)") == 16
    assert "val/text/pair/mrr@10" in text
    assert "8/8" in text
    assert re.search(r"2: loss=loss2.*failed: data.root is", text)
    words = text.split()
    for value in ("cardigans", "shorts,", "denim", "kilts,", "own"):
        assert words.count(value) == 1, value
    assert words.count("neckline,") == 3
    assert (words.count("precision@10"), words.count("hit@10")) == (7, 1)


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
    assert lines[0] == f"| job | objective | met | {neckline} | {shorts} |"
    assert lines[2] == "| 0: seed=0 |  | 1/2 | +5.0 (-1.0, +9.0) + | ? |"
    assert lines[12].startswith("| 10: seed=10 |  | 1/2 | +15.0")
    assert lines[13] == "| 11: loss=broken |  | no result |  |  |"
    assert lines[14].startswith("| 11 seeds |  | ")
    shown = capsys.readouterr().out
    assert "10: seed=10" in shown
    assert "sweep.md" in shown


def test_seeds_are_summed_up_with_mean_spread_and_a_verdict(tmp_path: Path) -> None:
    """Deltas of 4, 6 and 8 points, each +-3.92: mean 6, standard deviation 2, standard error 2.

    half width = sqrt(3.92^2 + (4.30 x 2)^2 / 3) = 6.33: above zero it is met, not proved.
    """
    for number, delta in enumerate((0.04, 0.06, 0.08)):
        for which, loss in enumerate(("infonce", "siglip")):
            folder = tmp_path / str(2 * number + which)
            job(folder, ["data=sample", f"loss={loss}", f"seed={number}"], ("neckline", 0.0, "met"))
            shift = 0.01 if which == 0 else 0.0
            row = {
                "name": "neckline", "delta": delta + shift, "low": delta + shift - 0.0392,
                "high": delta + shift + 0.0392, "verdict": "met", "rise": 0.05,
            }  # fmt: skip
            (folder / "scoreboard.json").write_text(json.dumps({"rows": [row], "watched": []}))
            held = {"monitor": "val/x", "value": 0.5 + number / 100}
            (folder / "objective.json").write_text(json.dumps(held))
    finish(tmp_path)
    table = list(csv.reader((tmp_path / "sweep.csv").open()))
    assert len(table) == 1 + 6 + 2
    rows = {row[0]: row[1:] for row in table}
    assert rows["3 seeds: loss=infonce"] == ["51.00 ± 1.00", "1/1", "+7.0 ± 2.0 (+0.7, +13.3) +"]
    assert rows["3 seeds: loss=siglip"] == ["51.00 ± 1.00", "0/1", "+6.0 ± 2.0 (-0.3, +12.3) -"]


def test_a_sweep_without_scoreboards_shows_nothing(tmp_path: Path) -> None:
    job(tmp_path / "0", ["seed=1"])
    finish(tmp_path)
    assert not (tmp_path / "sweep.md").exists()


def test_the_best_job_comes_first_and_one_that_failed_last(tmp_path: Path) -> None:
    monitor = "val/text/pair/mrr@10"
    for number, value in enumerate((0.2, 0.5, 0.0, 0.3)):
        job(tmp_path / str(number), [f"seed={number}"], ("neckline", 0.1, "met"))
        held = {"monitor": monitor, "value": value}
        (tmp_path / str(number) / "objective.json").write_text(json.dumps(held))
    (tmp_path / "2" / "failed.txt").write_text("data.root is not set\n\ntrace")
    (tmp_path / "2" / "scoreboard.json").unlink()
    results = {"metrics": {monitor: {"value": 0.5, "low": 0.45, "high": 0.54}}}
    (tmp_path / "1" / "metrics.json").write_text(json.dumps(results))
    finish(tmp_path)
    table = list(csv.reader((tmp_path / "sweep.csv").open()))
    assert table[0][:3] == ["job", monitor, "met"]
    assert [row[:3] for row in table[1:]] == [
        ["1: seed=1", "50.00 (45.00, 54.00)", "1/1"],
        ["3: seed=3", "30.00", "1/1"],
        ["0: seed=0", "20.00", "1/1"],
        ["2: seed=2", "", "failed: data.root is not set"],
        ["3 seeds", "33.33 ± 15.28", "1/1"],  # of 20, 50 and 30
    ]


def test_a_sweep_of_a_protocol_over_sets_ends_with_their_mean(tmp_path: Path) -> None:
    """As Marqo's benchmark averages: unweighted, over the sets that have the task."""
    held = [
        {"all/marqo/text-to-image/recall@1": {"value": 0.1}},
        {"all/marqo/text-to-image/recall@1": {"value": 0.4},
         "all/marqo/category2-to-product/precision@1": {"value": 0.5}},
    ]  # fmt: skip
    for number, metrics in enumerate(held):
        job(tmp_path / str(number), ["protocol=marqo", f"data.name=Marqo/{number}"])
        results = {"protocol": {"name": "marqo"}, "metrics": metrics}
        (tmp_path / str(number) / "metrics.json").write_text(json.dumps(results))
    finish(tmp_path)
    table = list(csv.reader((tmp_path / "sweep.csv").open()))
    assert table == [
        ["job", "text-to-image/recall@1", "category2-to-product/precision@1"],
        ["0: data.name=Marqo/0", "10.00", ""],
        ["1: data.name=Marqo/1", "40.00", "50.00"],
        ["mean", "25.00", "50.00"],
    ]


SWEPT = [
    "data.products=48", "data.batch_size=16", "data.num_workers=0", "retrieval.resamples=20",
    "trainer.max_epochs=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu",
    "trainer.devices=1", "device=cpu", "gallery=false", "model.heads=false",
]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "jobs"),
    [
        (["hydra/launcher=processes", "hydra.launcher.n_jobs=2", "retrieval.weight_image=0.7,2"],
         2),
        (["hydra/launcher=submitit_local", "seed=0"], 1),
        (["hydra/launcher=ray", "seed=0"], 1),
        (["hydra/sweeper=search", "hydra.sweeper.n_trials=2",
          "retrieval.weight_image=interval(0.0, 1.0)"], 2),
    ],
    ids=["joblib, a job fails", "submitit", "ray", "optuna"],
)  # fmt: skip
def test_a_sweep_of_each_kind_ends_with_its_leaderboard(
    how: list[str], jobs: int, tmp_path: Path, cache_dir: Path
) -> None:
    command = [sys.executable, "train.py", "-m", *SWEPT, f"hydra.sweep.dir={tmp_path}", *how]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "FASHRET_CACHE": str(cache_dir)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    table = list(csv.reader((tmp_path / "sweep.csv").open()))
    assert len(table) == 1 + jobs
    values = [float(row[1].split()[0]) for row in table[1:] if row[1]]
    assert values == sorted(values, reverse=True)
    assert "sweep.md" in done.stdout
    if "retrieval.weight_image=0.7,2" in how:
        assert [row[2].startswith("failed") for row in table[1:]] == [False, True]
        assert "1 of 2 jobs failed" in done.stdout


DIES = """
import os
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="app")
def main(cfg):
    if cfg.seed == 1:
        os.kill(os.getpid(), 9)
    return float(cfg.seed)

main()
"""


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ("hydra.launcher.num_cpus=1", 0, ""),
        ("hydra.launcher.num_cpus=9999", 1, "num_cpus=9999: the cluster has"),
        ("hydra.launcher.address=auto", 1, "hydra.launcher.address=auto: "),
    ],
)
def test_ray_outlives_a_killed_job_and_says_what_it_lacks(
    asked: str, status: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(DIES)
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "conf" / "app.yaml").write_text("seed: 0\n")
    launcher = Path("conf", "hydra", "launcher", "ray.yaml")
    (tmp_path / launcher).write_text((ROOT / launcher).read_text())
    done = subprocess.run(
        [sys.executable, "app.py", "-m", "seed=0,1,2", "hydra/launcher=ray", asked,
         "hydra.sweep.dir=swept"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == status, done.stderr[-2000:]
    if status:
        assert says in done.stderr
        return
    assert (tmp_path / "swept" / "1" / "failed.txt").read_text().startswith("the job's process")
    assert not (tmp_path / "swept" / "2" / "failed.txt").exists()
