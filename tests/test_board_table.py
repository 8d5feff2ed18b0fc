"""The tables on the screen, in terminals of several widths and in a file: nothing is cut."""

import doctest
import json
import re
from pathlib import Path

import pytest
from terminal import output

from fashret.reports import metric_words
from fashret.reports.metric_words import in_words

PRINTS = """
import json, sys
from fashret.reports.board_table import show_scoreboard
from fashret.reports.scoreboard import Row, Scoreboard
from fashret.reports.screen import console

held = json.load(open(sys.argv[1]))
rows = [[Row(**row) for row in held[part]] for part in ("targets", "headlines", "slices")]
show_scoreboard(Scoreboard("a model on a data set", *rows, held["compared"]), console())
"""


def row(
    name: str, *, value: float | None, verdict: str = "", target: str = ""
) -> dict[str, object]:
    """A row whose numbers all differ from those of the other rows, by its value."""
    known = value is not None
    delta = value - 0.3 if value is not None else None
    return {
        "key": f"test/{name}", "name": name, "baseline": 0.3 if known else None, "value": value,
        "delta": delta, "low": None if delta is None else delta - 0.1,
        "high": None if delta is None else delta + 0.1, "p": 0.0412 if known else None,
        "n": 12345 if known else 0, "ceiling": 0.987 if known else None,
        "chance": 0.123 if known else None, "target": target, "verdict": verdict,
    }  # fmt: skip


WORD = "double-breasted-cardigan-with-a-shawl-collar-and-horn-buttons"
HEADLINES = [
    row("image/product/hit@10", value=0.801),
    row("image/neckline/precision@10", value=0.202, verdict="REGRESSED"),
    row("fused/upper_body_pattern/precision@10", value=0.403, verdict="insufficient"),
    row("text/material/precision@10", value=None, verdict="insufficient"),
]
TARGETS = [
    row("image/category/precision@10[knitted cardigans with a hood]", value=0.504,
        verdict="not met", target="+10"),
    row(f"image/category/precision@10[{WORD}]", value=0.605, verdict="proved", target="+12.5"),
    row("image/material/precision@10[macro]", value=0.706, verdict="met", target="must not fall"),
    row("text/pair/hit@10", value=0.107, verdict="insufficient", target="must not fall"),
    row("image/category/precision@10[kilts]", value=None, verdict="insufficient", target="+10"),
]  # fmt: skip
SLICES = [
    row("image/category/precision@10[shorts]", value=0.108, verdict="REGRESSED"),
    row("image/category/precision@10[jackets]", value=0.909),
]
NUMBERS = re.compile(
    r"\s{2,}(?:(?:no fall|\+[\d.]+)\s+)?(?P<value>\d+\.\d)"
    r"\s+(?:(?P<delta>[+-]\d+\.\d)\s+)?(?P<interval>\S+ to \S+)"
    r"(?:\s+(?P<verdict>proved|met|not met|insufficient|REGRESSED))?\s+(?P<n>\d+)(?=\s|$).*$"
)


def shown_rows(text: str) -> dict[str, dict[str, str]]:
    """The rows by their names without spaces, as they can be read from the screen."""
    found: dict[str, dict[str, str]] = {}
    name, numbers = "", None
    for line in [*text.splitlines(), ""]:
        match = NUMBERS.search(line)
        if match or not line.strip():
            if numbers is not None:
                found[name] = numbers
            name, numbers = "", match.groupdict() if match else None
        if numbers is not None:
            part = line[: match.start()] if match else re.sub(r"\s{2,}fall\s*$", "", line)
            name += re.sub(r"\s", "", part)
    return found


def board(tmp_path: Path, *, compared: bool) -> list[str]:
    parts = {"targets": TARGETS if compared else [], "headlines": HEADLINES}
    path = tmp_path / "board.json"
    path.write_text(json.dumps(parts | {"slices": SLICES, "compared": compared}))
    return ["-c", PRINTS, str(path)]


@pytest.mark.parametrize(
    ("columns", "more"),
    [(80, {"ceiling"}), (100, {"ceiling"}),
     (140, {"ceiling", "baseline", "p", "chance"}), (None, {"ceiling"})],
)  # fmt: skip
def test_a_scoreboard_is_whole_at_every_width(
    columns: int | None, more: set[str], tmp_path: Path
) -> None:
    status, text = output(board(tmp_path, compared=True), columns)
    assert status == 0, text
    assert max(map(len, text.splitlines())) <= (columns or 100)
    assert "…" not in text
    found = shown_rows(text)
    expected = [r for r in (*HEADLINES, *TARGETS, SLICES[0]) if r["value"] is not None]
    for each in expected:
        value, delta = float(str(each["value"])), float(str(each["delta"]))
        assert found.pop(in_words(str(each["name"])).replace(" ", "")) == {
            "value": f"{100 * value:.1f}",
            "delta": f"{100 * delta:+.1f}",
            "interval": f"{100 * delta - 10:+.1f} to {100 * delta + 10:+.1f}",
            "verdict": each["verdict"] or None,
            "n": "12345",
        }
    assert not found
    header = next(line for line in text.splitlines() if line.startswith("metric"))
    assert more <= set(header.split())
    assert text.count("no fall") == 2
    said = " ".join(text.split()).partition("without a value, because no query counts: ")[2]
    assert said == (
        "text -> same material, precision@10; photo -> same category: kilts, precision@10"
    )


@pytest.mark.parametrize("columns", [80, 100, 140, None])
def test_a_board_without_a_baseline_has_the_values_and_their_intervals(
    columns: int | None, tmp_path: Path
) -> None:
    path = board(tmp_path, compared=False)
    held = json.loads(Path(path[2]).read_text())
    held["slices"] = []
    for each in held["headlines"]:
        each |= {"baseline": None, "delta": None, "p": None}
    Path(path[2]).write_text(json.dumps(held))
    status, text = output(path, columns)
    assert status == 0, text
    assert max(map(len, text.splitlines())) <= (columns or 100)
    header = next(line for line in text.splitlines() if line.startswith("metric"))
    columns_shown = ["value", "interval", "verdict", "n", "ceiling", "chance"]
    assert header.split()[1:] == columns_shown[: 6 if columns == 140 else 5]
    found = shown_rows(text)
    assert len(found) == 3
    assert found["photo->sameproduct,hit@10"]["interval"] == "40.1 to 60.1"
    assert "interval of the value" in text


def test_columns_is_respected_in_a_file(tmp_path: Path) -> None:
    command = board(tmp_path, compared=True)
    _, text = output(command, None, COLUMNS="72")
    assert 60 < max(map(len, text.splitlines())) <= 72
    assert len(shown_rows(text)) == 8


def test_a_narrow_screen_wraps_numbers_and_drops_none(tmp_path: Path) -> None:
    _, text = output(board(tmp_path, compared=True), 40)
    assert max(map(len, text.splitlines())) <= 40
    assert "…" not in text
    for number in ("80.1", "20.2", "40.3", "50.4", "60.5", "70.6", "10.7", "10.8"):
        assert number in text


def test_metrics_have_names_in_words() -> None:
    assert doctest.testmod(metric_words).attempted == 4
    assert doctest.testmod(metric_words).failed == 0
    assert in_words("fused/product/hit@10") == "photo + text -> same product, hit@10"
    nested = in_words("image/category/precision@10[a/b [c]]")
    assert nested == "photo -> same category: a/b [c], precision@10"
    assert in_words("all/marqo/recall@1") == "all/marqo/recall@1"


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
