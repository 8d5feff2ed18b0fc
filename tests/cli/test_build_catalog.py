"""The command that builds a catalog."""

from pathlib import Path

import pytest

from support.commands import Run


def test_build_catalog_prints_where(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("build_catalog")
    printed = capsys.readouterr().out
    assert "96 items, 256 dimensions, verified: " in printed
    assert (Path(printed.split("verified: ")[1].strip()) / "manifest.json").is_file()
