"""`fashret cache`."""

import sys
from pathlib import Path

import pytest

from fashret.cli import cache as command
from support.commands import Run

pytestmark = pytest.mark.run


def test_the_cache_is_listed_verified_and_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.cache_dir = tmp_path / "cache"
    run("build_catalog")

    def printed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cache", "--dir", str(run.cache_dir), *arguments])
        capsys.readouterr()
        command.main()
        return capsys.readouterr().out

    shown = printed()
    assert f"{run.cache_dir}: 3 entries" in shown
    assert "96 photos" in shown.replace("\n", " ")
    assert "2 entries with checksums verified, 0 with faults" in printed("--verify")
    planned = printed("--max-size", "0", "--dry-run")
    assert planned.count("would be removed: ") == 3
    assert "96 photos and " in planned
    assert "texts are encoded again" in planned
    assert "nothing was removed" in planned
    assert "3 entries" in printed()
    (damaged,) = run.cache_dir.glob("features/*/image/vectors.bin")
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with pytest.raises(SystemExit, match="error: 1 entries differ from their checksums"):
        printed("--verify")
    assert "96 features of image differ" in capsys.readouterr().out
    assert printed("--older-than", "1").startswith("0 entries")
    assert printed("--max-size", "0").count("removed: ") == 3
    assert "0 entries" in printed()


@pytest.mark.parametrize("size", ["much", "5XB", "-1", ""])
def test_a_wrong_size_is_named(
    size: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cache", f"--max-size={size}"])
    with pytest.raises(SystemExit):
        command.main()
    assert f"'{size}' is not a size such as 50GB" in capsys.readouterr().err
