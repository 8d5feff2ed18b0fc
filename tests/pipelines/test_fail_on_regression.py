"""Which rows of a scoreboard end a command with an error where `fail_on_regression` is set."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from fashret.errors import RegressionError
from fashret.evaluation.verdicts import INSUFFICIENT, MET, NOT_MET, PROVED, REGRESSED
from fashret.pipelines.publish import check_regressions
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.scoreboard_row import Row


def row(name: str, verdict: str, high: float | None = 0.1) -> Row:
    """A row of which nothing but the verdict and the interval's upper end matters here."""
    low = None if high is None else high - 0.2
    return Row(f"val/{name}", name, 0.5, 0.5, 0.0, low, high, 0.5, 100, 1.0, 0.1, verdict=verdict)


def board(
    targets: tuple[Row, ...] = (), headlines: tuple[Row, ...] = (), slices: tuple[Row, ...] = ()
) -> Scoreboard:
    return Scoreboard("title", targets, headlines, slices, True)


def failing(scoreboard: Scoreboard, *, fail: bool = True) -> list[str]:
    """The names in the error, in its order; none where there is no error."""
    cfg: Any = OmegaConf.create({"fail_on_regression": fail})
    try:
        check_regressions(cfg, scoreboard)
    except RegressionError as error:
        parts = [part.rpartition(": ")[2] for part in str(error).split("; ")]
        return [name for part in parts for name in part.split(", ")]
    return []


@pytest.mark.parametrize(
    ("verdict", "fails"), [(NOT_MET, True), (MET, False), (PROVED, False), (INSUFFICIENT, False)]
)
@pytest.mark.parametrize("high", [-0.1, 0.0, 0.1, None])
def test_a_target_fails_where_it_is_not_met(verdict: str, high: float | None, fails: bool) -> None:
    """The verdict decides it, not the interval, which the verdict was made from."""
    scoreboard = board(targets=(row("fine", MET), row("asked", verdict, high)))
    assert failing(scoreboard) == (["asked"] if fails else [])
    assert failing(scoreboard, fail=False) == []


@pytest.mark.parametrize("where", ["headlines", "slices"])
@pytest.mark.parametrize("high", [-0.1, 0.1])
def test_a_watched_metric_fails_where_it_regressed(where: str, high: float) -> None:
    for verdict, fails in ((REGRESSED, True), ("", False), (INSUFFICIENT, False), (NOT_MET, False)):
        rows: Any = {where: (row("fine", ""), row("watched", verdict, high))}
        scoreboard = board(**rows)
        assert failing(scoreboard) == (["watched"] if fails else []), verdict
        assert failing(scoreboard, fail=False) == []


def test_everything_that_fell_and_every_target_that_is_not_met_is_named() -> None:
    scoreboard = board(
        targets=(row("t1", MET), row("t2", NOT_MET, -0.1), row("t3", NOT_MET, 0.2)),
        headlines=(row("h1", REGRESSED), row("h2", "")),
        slices=(row("s1", ""), row("s2", REGRESSED)),
    )
    assert sorted(failing(scoreboard)) == ["h1", "s2", "t2", "t3"]


def test_nothing_that_is_watched_cannot_fail() -> None:
    assert failing(board()) == []
