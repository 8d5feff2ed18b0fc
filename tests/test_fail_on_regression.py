"""Which rows of a scoreboard end a command with an error where `fail_on_regression` is set."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from fashret.cli.outcome import check_regressions
from fashret.errors import RegressionError
from fashret.reports.scoreboard import INSUFFICIENT, MET, NOT_MET, REGRESSED, Row, Scoreboard


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
        return [part.strip() for part in str(error).rpartition(":")[2].split(",")]
    return []


@pytest.mark.parametrize(
    ("verdict", "high", "fails"),
    [
        (NOT_MET, -0.001, True),  # its whole interval lies below 0: it fell
        (NOT_MET, 0.0, False),  # it may not have fallen
        (NOT_MET, 0.05, False),  # it rose, but less than was asked
        (NOT_MET, None, False),
        (MET, 0.1, False),
        (INSUFFICIENT, -0.1, False),  # too few queries to say so
        (INSUFFICIENT, None, False),
    ],
)
def test_an_unmet_target_fails_where_it_surely_fell(
    verdict: str, high: float | None, fails: bool
) -> None:
    scoreboard = board(targets=(row("asked", verdict, high), row("other", MET)))
    assert failing(scoreboard) == (["asked"] if fails else [])
    assert failing(scoreboard, fail=False) == []


@pytest.mark.parametrize("where", ["headlines", "slices"])
def test_a_watched_metric_fails_by_its_verdict_alone(where: str) -> None:
    for verdict, high, fails in (
        (REGRESSED, -0.01, True),
        (REGRESSED, 0.01, True),  # its p value decided
        ("", -0.01, False),  # below 0, but not among so many that are watched
        (INSUFFICIENT, -0.01, False),
        (NOT_MET, -0.01, False),  # that is a target's
    ):
        scoreboard = board(**{where: (row("fine", ""), row("watched", verdict, high))})  # type: ignore[arg-type]
        assert failing(scoreboard) == (["watched"] if fails else []), verdict
        assert failing(scoreboard, fail=False) == []


def test_everything_that_fell_is_named_targets_first() -> None:
    scoreboard = board(
        targets=(row("t1", MET), row("t2", NOT_MET, -0.1), row("t3", NOT_MET, -0.2)),
        headlines=(row("h1", REGRESSED), row("h2", "")),
        slices=(row("s1", ""), row("s2", REGRESSED)),
    )
    assert failing(scoreboard) == ["t2", "t3", "h1", "s2"]


def test_nothing_that_is_watched_cannot_fail() -> None:
    assert failing(board()) == []
