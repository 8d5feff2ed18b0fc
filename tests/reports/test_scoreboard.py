"""Verdicts: targets that are met, significant regressions, and what is insufficient."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fashret.errors import RegressionError
from fashret.evaluation.targets import Target
from fashret.evaluation.verdicts import INSUFFICIENT, MET, NOT_MET, PROVED, REGRESSED
from fashret.pipelines.publish import check_regressions
from fashret.reports.results import products_by_key
from fashret.reports.scoreboard import Scoreboard
from support.commands import Run
from support.scoreboards import KEY, QUERIES, asked, board, evaluation, noise


def test_a_target_is_met_by_the_asked_rise_and_an_interval_above_zero() -> None:
    before = noise(0)
    assert board(before, before + 0.04, asked())[0][""] == NOT_MET  # certain, but too little
    spread = (noise(1) - 0.1) * 2  # its mean over 300 queries is uncertain by 0.007
    likely = before + 0.055 + spread - spread.mean()
    assert board(before, likely, asked())[0][""] == MET
    wild = before + 0.06 + (spread - spread.mean()) * 20
    assert board(before, wild, asked())[0][""] == NOT_MET  # enough, but it may be chance


def test_a_target_is_proved_where_the_whole_interval_is_above_what_is_asked() -> None:
    before = noise(0)
    assert board(before, before + 0.06, asked())[0][""] == PROVED
    spread = (noise(1) - 0.1) * 2
    assert board(before, before + 0.075 + spread - spread.mean(), asked())[0][""] == PROVED


def test_what_must_not_fall_is_met_if_the_interval_excludes_more_than_its_margin() -> None:
    before = noise(0)
    verdict = {
        fall: board(before, before - fall, asked(rise=None))[0][""] for fall in (0.0, 0.015, 0.03)
    }
    assert verdict == {0.0: MET, 0.015: MET, 0.03: NOT_MET}
    strict = Target(metric="image/neckline/precision@10", rise=None, margin=0.01)
    assert board(before, before - 0.015, strict)[0][""] == NOT_MET
    spread = (noise(1) - 0.1) * 8  # its mean over 300 queries is uncertain by 0.05
    unsure = before + spread - spread.mean()
    assert board(before, unsure, asked(rise=None))[0][""] == INSUFFICIENT
    assert board(before, unsure - 0.03, asked(rise=None))[0][""] == NOT_MET


@pytest.mark.parametrize(
    ("change", "fails"),
    [(0.06, None), (0.04, "targets that are not met: image/neckline/precision@10"), (0.0, None)],
)
def test_an_unmet_target_fails_the_command_and_an_insufficient_one_does_not(
    change: float, fails: str | None
) -> None:
    before = noise(0)
    target = asked() if change else asked("[high]")  # 15 queries have a high neckline
    found = board(before, before + change, target)[1]
    cfg: Any = SimpleNamespace(fail_on_regression=True)
    if fails is None:
        check_regressions(cfg, found)
    else:
        with pytest.raises(RegressionError, match=fails):
            check_regressions(cfg, found)
        check_regressions(SimpleNamespace(fail_on_regression=False), found)  # type: ignore[arg-type]


def test_targets_are_watched_for_regressions_against_another_run() -> None:
    before = noise(0)
    made, other = evaluation(before - 0.015), evaluation(before)
    for against_run, expected in ((True, REGRESSED), (False, "")):
        found = Scoreboard.from_evaluation(
            "t", made, made.results(), other, [asked(rise=None)], {}, against_run=against_run
        )
        assert found.targets[0].verdict == MET  # within its margin
        assert found.headlines[0].verdict == expected


def test_queries_of_few_products_are_insufficient() -> None:
    """300 queries of 15 products, by number for the whole metric and for each value."""
    made, other = evaluation(noise(0) + 0.1), evaluation(noise(0))
    products = torch.arange(QUERIES) % 15
    for one in (made, other):
        searches: Any = one.plan.searches
        searches["image"] = replace(searches["image"], groups=products)
    behind = products_by_key(made)
    codes = made.slices[KEY][0]
    assert behind[KEY] == 15
    assert behind[f"{KEY}[round]"] == len(products[codes == 0].unique())
    found = Scoreboard.from_evaluation("t", made, made.results(), other, [asked()], behind)
    assert found.targets[0].verdict == INSUFFICIENT
    assert found.headlines[0].verdict == INSUFFICIENT


def test_few_queries_are_insufficient() -> None:
    verdicts, _ = board(noise(0), noise(0) + 0.5, asked("[high]"), asked("[velvet]"))
    assert verdicts["[high]"] == INSUFFICIENT
    assert verdicts["[velvet]"] == INSUFFICIENT  # no such value: n is 0
    assert verdicts["[round]"] == ""


def test_a_slice_that_fell_is_regressed_and_one_that_is_asked_for_is_not_watched() -> None:
    before = noise(0)
    after = before.clone()
    codes = evaluation(before).slices[KEY][0]
    after[codes == 1] -= 0.05
    verdicts, found = board(before, after, asked("[round]"))
    assert verdicts == {
        "": REGRESSED,
        "[round]": NOT_MET,
        "[square]": REGRESSED,
        "[high]": INSUFFICIENT,
        "[macro]": REGRESSED,
    }
    assert "image/neckline/precision@10[square]" in found.regressed
    assert {row["key"] for row in found.to_dict()["rows"]} == {f"{KEY}[round]"}
    assert f"{KEY}[round]" not in {row["key"] for row in found.to_dict()["watched"]}


def test_runs_are_compared_and_a_fall_can_be_an_error(run: Run, tmp_path: Path) -> None:
    options = ("data.products=160", "trainer.max_epochs=1")
    good = run("train", *options, folder="good")
    held = json.loads((good / "scoreboard.json").read_text())
    assert [row["name"] for row in held["rows"]][:2] == [
        "image/neckline/precision@10",
        "image/category/precision@10[cardigans]",
    ]
    assert set(held["rows"][0]) >= {
        "key", "name", "baseline", "value", "delta", "low", "high", "p", "n", "ceiling", "target",
        "verdict",
    }  # fmt: skip
    ruined = run("train", *options, "optimizer.lr=0.3", folder="ruined")
    compared = (f"run={ruined}", f"baseline={good}", "retrieval.resamples=4000")
    run("evaluate", *compared, folder="compared", small=False)
    board = json.loads((run.at("compared") / "scoreboard.json").read_text())
    values = json.loads((good / "metrics.json").read_text())["metrics"]
    row = next(row for row in board["watched"] if row["name"] == "image/colour/precision@10")
    assert row["baseline"] == values["test/image/colour/precision@10"]["value"]
    with pytest.raises(RegressionError, match="significant regressions"):
        run("evaluate", *compared, "fail_on_regression=true", folder="failed", small=False)
    assert (run.at("failed") / "scoreboard.md").is_file()
