"""The page of a data set: what it says of products is what training then uses."""

import json

import pytest

from support.commands import Run

pytestmark = pytest.mark.run


def test_products_are_written_without_training(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = "data.groups.title_similarity=0.9"
    trained = run("train", "trainer.max_epochs=1", "latency=false", drawn, folder="trained")
    viewed = run("view", drawn, folder="viewed")
    printed = capsys.readouterr().out
    for name in ("groups.json", "groups_audit.csv"):
        assert (viewed / name).read_text() == (trained / "mining" / name).read_text()
        assert name in printed
    groups = json.loads((viewed / "groups.json").read_text())
    assert groups["products_by_size"] == {"2": 48}
    assert "48 products, 48 of them with several items (at most 2)" in " ".join(printed.split())
    # without a model: products that the data state, or names tell
    plain = run("view", drawn, "view.alike=null", folder="plain")
    assert json.loads((plain / "groups.json").read_text())["products_by_size"] == {"2": 48}
