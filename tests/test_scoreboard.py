"""Verdicts: targets that are met, significant regressions, and what is insufficient."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, composed

from fashret.errors import ConfigError, RegressionError
from fashret.evaluation.comparison import compare
from fashret.evaluation.evaluator import Column, Evaluation
from fashret.evaluation.targets import INSUFFICIENT, MET, NOT_MET, PROVED, Target, usable_targets
from fashret.functional.bootstrap import holm, resampled_means, two_sided_p
from fashret.functional.topk import Ranking
from fashret.pipelines.evaluate import check_regressions
from fashret.pipelines.session import _given_targets
from fashret.reports.results import products_behind
from fashret.reports.scoreboard import REGRESSED, Scoreboard

KEY = "val/image/neckline/precision@10"
QUERIES = 300


def evaluation(values: torch.Tensor, ranked: int = 0) -> Evaluation:
    """An evaluation of one metric over 300 queries of 300 products, with three necklines.

    Args:
        values: of the queries.
        ranked: the row that every query found.
    """
    codes = torch.arange(QUERIES) % 100
    codes = torch.where(codes < 60, 0, torch.where(codes < 95, 1, 2))  # 180, 105 and 15 queries
    names = ["round", "square", "high"]
    options = SimpleNamespace(k=[10], resamples=2000, seed=0, slice_metrics=["precision"])
    protocol: Any = SimpleNamespace(
        split="validation",
        queries=np.arange(QUERIES),
        codes=SimpleNamespace(
            product=torch.arange(QUERIES), described={"neckline": (codes, names)}
        ),
        described=("neckline",),
        options=options,
        relevances=lambda mode: ["neckline"] if mode == "image" else [],
    )
    ones = torch.ones(QUERIES, dtype=torch.float64)
    column = Column(values, ones, ones * 0.1)
    rows = torch.full((QUERIES, 1), ranked)
    rankings = {"image": Ranking(rows, torch.ones(QUERIES, 1))}
    return Evaluation(protocol, rankings, {}, {KEY: column}, {KEY: (codes, names)})


def board(
    before: torch.Tensor, after: torch.Tensor, *targets: Target
) -> tuple[dict[str, str], Scoreboard]:
    made = evaluation(after)
    found = Scoreboard.of("t", made, made.results(), evaluation(before), targets, {})
    rows = (*found.targets, *found.headlines, *found.slices)
    return {row.name.partition("@10")[2]: row.verdict for row in reversed(rows)}, found


def noise(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(QUERIES, dtype=torch.float64, generator=generator) * 0.2


def asked(value: str = "", rise: float | None = 0.05) -> Target:
    return Target(metric=f"image/neckline/precision@10{value}", rise=rise)


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
        found = Scoreboard.of(
            "t", made, made.results(), other, [asked(rise=None)], {}, against_run=against_run
        )
        assert found.targets[0].verdict == MET  # within its margin
        assert found.headlines[0].verdict == expected


def test_queries_of_few_products_are_insufficient() -> None:
    """300 queries of 15 products, by number for the whole metric and for each value."""
    made, other = evaluation(noise(0) + 0.1), evaluation(noise(0))
    products = torch.arange(QUERIES) % 15
    for one in (made, other):
        one.protocol.codes.product = products
    behind = products_behind(made)
    codes = made.slices[KEY][0]
    assert behind[KEY] == 15
    assert behind[f"{KEY}[round]"] == len(products[codes == 0].unique())
    found = Scoreboard.of("t", made, made.results(), other, [asked()], behind)
    assert found.targets[0].verdict == INSUFFICIENT
    assert found.headlines[0].verdict == INSUFFICIENT


VALUES = {"category": ["Cardigans", "Shorts"], "neckline": ["round", "square"]}
NAMES = [f"image/{name}/{metric}@10" for name in VALUES for metric in ("precision", "hit")]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("image/category/precision@10[cardigans]", r"no category 'cardigans'; .* Cardigans\?"),
        ("image/neckline/precision@5", r"no such metric; did you mean image/neckline/precision@10"),
        ("image/fabric/precision@10[denim]", "no such metric"),
        ("image/neckline/hit@10[round]", "not given by value: add it to retrieval.slice_metrics"),
        ("neckline", "no such metric"),
    ],
)
def test_a_target_that_the_data_cannot_give_is_named_with_the_nearest(
    metric: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given by the user it is an error; of the data's own configuration it is left out."""
    own = {"mine": Target(metric=metric, rise=0.1), "whole": asked()}
    options = {"metrics": NAMES, "sliced": ["precision"], "values": VALUES}
    with pytest.raises(ConfigError, match=f"targets.mine.metric=.*{message}"):
        usable_targets(own, given=["mine"], **options)  # type: ignore[arg-type]
    left = usable_targets(own, given=[], **options)  # type: ignore[arg-type]
    assert left == [own["whole"]]
    assert "leaving out the target mine" in caplog.text


def test_targets_are_the_users_where_they_are_not_as_the_data_set_has_them() -> None:
    mine = "+targets.mine={metric: image/category/hit@10, rise: 0.1}"
    for overrides, given in (
        ([], set()),
        (["targets.denim.rise=0.2"], {"denim"}),
        ([mine], {"mine"}),
        (["data=folder", mine], {"mine"}),
    ):
        assert _given_targets(composed("train", overrides)) == given


def test_every_data_set_has_targets_in_its_own_spelling_or_none() -> None:
    """Those of a set name its categories as its source does."""
    composed_names = {}
    for data in ("sample", "deepfashion_multimodal", "folder", "fashion_products"):
        cfg = composed("train", [f"data={data}"])
        composed_names[data] = sorted(cfg.get("targets") or {})
    assert composed_names["folder"] == composed_names["fashion_products"] == []
    assert composed_names["sample"] == composed_names["deepfashion_multimodal"] != []
    cfg = composed("train", ["data=deepfashion_multimodal"])
    assert cfg.targets.cardigans.metric == "image/category/precision@10[Cardigans]"
    assert not composed("train", ["targets=none"]).targets


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


def test_a_difference_is_that_of_a_paired_bootstrap() -> None:
    before, after = noise(0), noise(1) + 0.02
    change = compare(evaluation(after), evaluation(before), [KEY, f"{KEY}[macro]"])
    rng = np.random.default_rng(0)
    pairs = (after - before).numpy()
    drawn = pairs[rng.integers(QUERIES, size=(20_000, QUERIES))].mean(axis=1)
    found = change[KEY]
    expected = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(expected, abs=0.001)  # two independent draws
    assert found.p == pytest.approx(2 * min((drawn <= 0).mean(), (drawn >= 0).mean()), abs=0.01)
    codes = evaluation(before).slices[KEY][0]
    macro = np.mean([float((after - before)[codes == c].mean()) for c in range(3)])
    assert change[f"{KEY}[macro]"].low < macro < change[f"{KEY}[macro]"].high


def test_equal_systems_do_not_differ() -> None:
    found = compare(evaluation(noise(0)), evaluation(noise(0)), [KEY])[KEY]
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)


def test_two_systems_without_an_exception_are_not_certain_to_stay_equal() -> None:
    """Both find everything, by other rankings: of 300 queries without a difference, Wilson's
    bound leaves 1.96^2 / (300 + 1.96^2) = 1.26 % that may differ."""
    values = torch.ones(QUERIES, dtype=torch.float64)
    found = compare(evaluation(values, 1), evaluation(values, 2), [KEY, f"{KEY}[high]"])
    share = 1.959964**2 / (300 + 1.959964**2)
    small = 3.84 / (15 + 3.84)  # 15 queries, and Student's t widens by more
    assert found[KEY].low == pytest.approx(-share, rel=0.1)
    assert found[KEY].high == -found[KEY].low
    assert found[KEY].p == 1.0
    assert -2.0 * small < found[f"{KEY}[high]"].low < -small
    verdict = Scoreboard.of(
        "t", evaluation(values, 1), evaluation(values, 1).results(), evaluation(values, 2),
        [asked(rise=None), asked("[high]", rise=None)], {},
    ).targets  # fmt: skip
    assert [row.verdict for row in verdict] == [MET, INSUFFICIENT]


def test_a_metric_at_its_bound_is_not_certain() -> None:
    ones = torch.ones(QUERIES, dtype=torch.float64)
    share = 1.959964**2 / (300 + 1.959964**2)
    best, worst = (evaluation(v).results([KEY])[KEY] for v in (ones, 0.0 * ones))
    assert (best["low"], best["high"]) == (pytest.approx(1.0 - share, abs=1e-3), 1.0)
    assert (worst["low"], worst["high"]) == (0.0, pytest.approx(share, abs=1e-3))


def test_p_is_never_zero() -> None:
    means = resampled_means(torch.ones(50, 1), torch.arange(50), resamples=200, seed=0)
    assert float(two_sided_p(means)) == pytest.approx(1 / 201)


def test_holm_adjusts_as_in_the_textbook() -> None:
    nan = float("nan")
    adjusted = holm([0.01, 0.04, nan, 0.03, 0.005])
    assert adjusted[:2] == pytest.approx([0.03, 0.06])
    assert np.isnan(adjusted[2])
    assert adjusted[3:] == pytest.approx([0.06, 0.02])


def test_other_queries_cannot_be_compared() -> None:
    other = evaluation(noise(0))
    protocol = SimpleNamespace(**vars(other.protocol) | {"queries": np.arange(1, QUERIES + 1)})
    with pytest.raises(ConfigError, match="have other queries"):
        compare(evaluation(noise(0)), replace(other, protocol=protocol), [KEY])


def test_a_target_is_a_share() -> None:
    with pytest.raises(ConfigError, match="is asked to rise by 5"):
        asked(rise=5)


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
