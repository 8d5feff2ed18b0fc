"""What the package asks for."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
ASKED = {made.name: made for text in PROJECT["dependencies"] if (made := Requirement(text))}


@pytest.mark.parametrize("infected", ["2.6.2", "2.6.3"])
def test_the_versions_of_lightning_with_malware_are_excluded(infected: str) -> None:
    """GHSA-w37p-236h-pfx3."""
    assert infected not in ASKED["pytorch-lightning"].specifier
    assert "2.6.4" in ASKED["pytorch-lightning"].specifier


def test_open_clip_is_bounded_by_the_last_version_that_was_tested() -> None:
    assert version("open_clip_torch") in ASKED["open_clip_torch"].specifier
    assert "4.2.0" in ASKED["open_clip_torch"].specifier
    assert "4.3.0" not in ASKED["open_clip_torch"].specifier
