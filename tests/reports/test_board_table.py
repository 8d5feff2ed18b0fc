"""The tables on the screen, in terminals of several widths and in a file: nothing is cut."""

import json
import re
from pathlib import Path

import pytest

from fashret.reports.metric_words import in_words
from support.terminal import output

pytestmark = pytest.mark.run

PRINTS = """
import json, sys
from fashret.reports.board_table import show_scoreboard
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.scoreboard_row import Row
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
    assert said == ("text -> same material; photo -> same category: kilts")


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
