"""The scoreboard as scoreboard.md and scoreboard.json have it, and which metrics are tested."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from fashret.evaluation.evaluator import Evaluation, TaskResult
from fashret.evaluation.verdicts import (
    ENOUGH_PRODUCTS,
    ENOUGH_QUERIES,
    INSUFFICIENT,
    MET,
    NOT_MET,
    PROVED,
    is_enough,
    is_regression,
    verdict,
)
from fashret.functional.relevance import CodeRelevance
from fashret.reports.scoreboard import Scoreboard
from fashret.tasks.base import Search, Task
from support.scoreboards import KEY, QUERIES, asked, board, evaluation, noise


def titles(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def table(text: str, title: str) -> list[list[str]]:
    """The cells of the table below a title, without the line below its header."""
    part = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in (rows[0], *rows[2:])]


def test_a_compared_scoreboard_has_targets_headlines_and_values() -> None:
    before = noise(0)
    _, found = board(before, before + 0.06, asked(), asked("[high]"))
    text = found.to_markdown()
    assert titles(text) == ["# t", "## Targets", "## Headlines", "## By value"]
    assert "the interval is the delta's 95 % interval" in text
    assert text.endswith("|\n")
    header, first, second = table(text, "Targets")
    assert header == [
        "metric", "asked", "baseline", "value", "delta", "interval", "p", "n", "verdict",
    ]  # fmt: skip
    assert first[0] == "image/neckline/precision@10"
    assert first[1] == "+5"
    assert float(first[2]) == pytest.approx(100 * float(before.mean()), abs=0.05)
    assert float(first[4]) == pytest.approx(6.0)
    assert first[7:] == [str(QUERIES), PROVED]
    assert second[0] == "image/neckline/precision@10[high]"
    assert second[-2:] == ["15", INSUFFICIENT]
    header, only = table(text, "Headlines")
    assert header[0] == "metric"
    assert header[-3:] == ["verdict", "chance", "ceiling"]
    assert only[0] == "image/neckline/precision@10"
    assert only[-2:] == ["10.0", "100.0"]
    names = [row[0] for row in table(text, "By value")[1:]]
    stem = "image/neckline/precision@10"
    assert names == [f"{stem}[{v}]" for v in ("round", "square", "high", "macro")]
    assert "Without a value" not in text


def test_a_scoreboard_alone_has_the_values_intervals_and_no_targets() -> None:
    made = evaluation(noise(0))
    found = Scoreboard.from_evaluation("t", made, made.results(), None, [asked()], {})
    assert not found.compared
    assert found.targets == []
    text = found.to_markdown()
    assert "the interval is the value's 95 % interval" in text
    assert "## Targets" not in text
    row = found.headlines[0]
    assert (row.baseline, row.delta, row.p, row.verdict) == (None, None, None, "")
    assert row.value == pytest.approx(float(noise(0).mean()))
    held = found.to_dict()
    assert held["rows"] == []
    assert held["watched"][0]["key"] == KEY


def test_a_metric_without_a_query_is_named_and_not_tabled() -> None:
    nothing = torch.full((QUERIES,), torch.nan, dtype=torch.float64)
    made = evaluation(nothing)
    found = Scoreboard.from_evaluation("t", made, made.results(), made, [asked()], {})
    text = found.to_markdown()
    assert "## Headlines" not in text
    said = "Without a value, because no query counts: image/neckline/precision@10."
    assert said in text
    assert found.headlines[0].value is None
    assert found.targets[0].verdict == INSUFFICIENT


def test_a_target_of_a_slice_that_does_not_exist_has_no_queries() -> None:
    _, found = board(noise(0), noise(0) + 0.1, asked("[velvet]"))
    row = found.targets[0]
    assert row.key == f"{KEY}[velvet]"
    assert row.name == "image/neckline/precision@10[velvet]"
    assert (row.n, row.value, row.baseline, row.delta, row.low) == (0, None, None, None, None)


def test_a_row_has_the_rise_or_the_margin_of_its_target() -> None:
    before = noise(0)
    _, found = board(before, before + 0.06, asked())
    assert (found.targets[0].rise, found.targets[0].margin) == (0.05, None)
    _, found = board(before, before, asked(rise=None))
    assert (found.targets[0].rise, found.targets[0].margin) == (None, 0.02)
    assert found.targets[0].target == "must not fall"


def test_by_default_a_target_is_not_watched_as_well() -> None:
    before = noise(0)
    _, found = board(before, before - 0.015, asked(rise=None))
    assert found.headlines[0].verdict == ""


def test_too_few_resamples_for_what_is_tested_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def warned(resamples: int) -> list[str]:
        caplog.clear()
        made, other = evaluation(noise(0) + 0.01), evaluation(noise(0))
        for one in (made, other):
            one.plan.options.resamples = resamples  # type: ignore[misc]  # a stand-in of options
        with caplog.at_level(logging.WARNING):
            Scoreboard.from_evaluation("t", made, made.results(), other, [], {})
        return [record.getMessage() for record in caplog.records]

    # Tested are the metric, [round], [square] and [macro]: 4 of p at least 1 / (resamples + 1).
    # 4 / 80 is 0.05: too few; 4 / 81 is below.
    assert warned(80) == []
    assert len(warned(79)) == 1
    assert warned(79)[0].startswith("retrieval.resamples=79 is too few")
    assert warned(79)[0].endswith("among 4 metrics: use at least 80")


def two_searches(values: torch.Tensor) -> Evaluation:
    """The evaluation of photos, with a search by text that is sliced as well."""
    made = evaluation(values)
    task = made.plan.tasks[0]
    other = replace(task, name="text/neckline", search="text")
    plain = Task("image/pair", "image", CodeRelevance(*(torch.arange(QUERIES),) * 2),
                 ["precision@10"], ["precision@10"])  # fmt: skip
    plan: Any = made.plan
    rows = plan.searches["image"].query_rows
    plan.searches = {
        "text": Search("text", rows, rows, torch.arange(QUERIES)), "image": plan.searches["image"],
    }  # fmt: skip
    plan.tasks = [other, task, plain]
    column = made.results_by_task[task.name].columns
    results = {one.name: TaskResult(one, None, column) for one in plan.tasks}  # type: ignore[arg-type]  # not judged
    rankings = dict.fromkeys(("text", "image"), made.rankings["image"])
    return Evaluation(plan, rankings, results)


def test_the_values_are_those_of_photo_queries_where_there_are_any() -> None:
    made = two_searches(noise(0))
    found = Scoreboard.from_evaluation("t", made, made.results(), None, [], {})
    assert {row.key.rpartition("/")[0] for row in found.slices} == {"val/image/neckline"}
    assert [row.key for row in found.headlines] == [
        "val/text/neckline/precision@10", KEY, "val/image/pair/precision@10",
    ]  # fmt: skip
    plan: Any = made.plan
    del plan.searches["image"]
    plan.tasks = plan.tasks[:1]
    results = {"text/neckline": made.results_by_task["text/neckline"]}
    alone = Evaluation(plan, {"text": made.rankings["text"]}, results)
    found = Scoreboard.from_evaluation("t", alone, alone.results(), None, [], {})
    assert {row.key.rpartition("/")[0] for row in found.slices} == {"val/text/neckline"}


def test_a_verdict_needs_so_many_queries_of_so_many_products() -> None:
    assert is_enough("a/precision@10", ENOUGH_QUERIES, ENOUGH_PRODUCTS)
    assert not is_enough("a/precision@10", ENOUGH_QUERIES - 1, ENOUGH_PRODUCTS)
    assert not is_enough("a/precision@10", ENOUGH_QUERIES, ENOUGH_PRODUCTS - 1)
    assert is_enough("a/precision@10[macro]", 1, 1)
    assert not is_enough("a/precision@10[macro]", 0, 0)
    assert (ENOUGH_QUERIES, ENOUGH_PRODUCTS) == (30, 20)


def test_a_fall_is_a_regression_below_five_percent() -> None:
    assert is_regression(-0.01, 0.049)
    assert not is_regression(-0.01, 0.05)
    assert not is_regression(0.0, 0.001)
    assert not is_regression(0.01, 0.001)


@pytest.mark.parametrize(
    ("delta", "low", "rise", "expected"),
    [
        (0.05, 0.05, 0.05, PROVED),
        (0.05, 0.049, 0.05, MET),
        (0.05, 0.0, 0.05, NOT_MET),
        (0.049, 0.04, 0.05, NOT_MET),
        (-0.01, -0.02, None, MET),
        (-0.02, -0.021, None, INSUFFICIENT),
        (-0.021, -0.03, None, NOT_MET),
    ],
)
def test_verdicts_at_their_bounds(
    delta: float, low: float, rise: float | None, expected: str
) -> None:
    assert verdict(delta, low, rise=rise, margin=0.02) == expected
