"""`fashret <command>`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fashret.cli import cache, compare, doctor, evaluate, search
from fashret.cli import main as entry
from fashret.version import __version__
from support.commands import ONE_EPOCH, Run
from support.project import ROOT


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fashret", *arguments])
    entry.main()


def test_every_command_is_listed_and_has_a_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, "--help")
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 24
    assert len(entry.COMMANDS) == 10
    for name, (module, _) in entry.COMMANDS.items():
        assert f"  {name} " in shown
        assert (ROOT / "fashret" / "cli" / f"{module}.py").is_file()
    called(monkeypatch, "--version")
    assert capsys.readouterr().out == f"fashret {__version__}\n"


def test_a_wrong_command_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as e:
        called(monkeypatch, "serch")
    assert "unknown command 'serch'; did you mean search?" in str(e.value)


def test_a_command_gets_the_arguments_behind_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("fashret.cli.train.main", lambda: seen.append(sys.argv[1:]))
    called(monkeypatch, "train", "trainer.max_epochs=2")
    assert seen == [["trainer.max_epochs=2"]]


def test_compare_is_an_evaluation_against_another_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(evaluate, "main", lambda: seen.append(sys.argv[1:]))
    called(monkeypatch, "compare", "a run", "b", "gallery=true")
    assert seen == [["run='a run'", "baseline=b", "gallery=true"]]
    called(monkeypatch, "compare", "--help")
    assert "usage: fashret compare" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="needs two runs"):
        called(monkeypatch, "compare", "a")
    assert compare.main is not None


def test_the_cache_is_listed_and_an_entry_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("data", "sample-1"), ("catalogs", "tiny-2"), ("weights", "w.pt")):
        folder = tmp_path / kind / name
        if kind == "weights":
            folder.parent.mkdir()
            folder.write_bytes(b"x" * 2_000_000)
        else:
            folder.mkdir(parents=True)
            (folder / "a").write_bytes(b"x" * 500)
            folder.with_name(f"{name}.lock").touch()
    monkeypatch.setenv("FASHRET_CACHE", str(tmp_path))
    called(monkeypatch, "cache")
    shown = capsys.readouterr().out
    assert "3 entries, 2 MB" in shown
    assert all(name in shown for name in ("sample-1", "tiny-2", "w.pt"))
    called(monkeypatch, "cache", "--remove", "tiny-2")
    assert not (tmp_path / "catalogs" / "tiny-2").exists()
    assert (tmp_path / "data" / "sample-1").exists()
    with pytest.raises(SystemExit, match="has no entry 'other'"):
        called(monkeypatch, "cache", "--remove", "other")
    assert cache.default_cache_dir() == tmp_path


def test_doctor_names_what_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = {"good": lambda: "as it should be"}
    monkeypatch.setattr(doctor, "_CHECKS", checks)
    called(monkeypatch, "doctor")
    assert "ok    good: as it should be" in capsys.readouterr().out

    def broken() -> str:
        raise RuntimeError("torch is not installed")

    monkeypatch.setattr(doctor, "_CHECKS", {**checks, "bad": broken})
    with pytest.raises(SystemExit, match="1 of 2 checks failed"):
        called(monkeypatch, "doctor")
    assert "FAIL  bad: RuntimeError: torch is not installed" in capsys.readouterr().out


@pytest.mark.run
def test_doctor_is_content_with_this_installation(cache_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fashret.cli.main", "doctor"],
        cwd=ROOT,
        env=os.environ | {"FASHRET_CACHE": str(cache_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok  ") == len(doctor._CHECKS)


def test_search_prints_its_hits_and_writes_a_page(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run("train", "model.train=heads", *ONE_EPOCH)
    page = run.at("hits.html")
    where = ["--where", "category=dresses"]
    capsys.readouterr()
    monkeypatch.setenv("FASHRET_CACHE", str(run.cache_dir))
    called(monkeypatch, "search", str(trained), "a dress", "-k", "3", "--html", str(page))
    assert "score" in capsys.readouterr().out
    assert page.read_text().count("<img") == 3
    with pytest.raises(SystemExit, match="error: where"):
        called(monkeypatch, "search", str(trained), "a dress", *where, "--where", "shade=x")
    with pytest.raises(SystemExit, match="must be NAME=VALUE"):
        called(monkeypatch, "search", str(trained), "a dress", "--where", "red")
    with pytest.raises(SystemExit, match=r"error: .*elsewhere"):
        called(monkeypatch, "search", "elsewhere", "a dress")
    assert search.main is not None
