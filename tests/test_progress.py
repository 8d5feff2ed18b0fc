"""Long work says how far it is: whole lines in a file, a bar in a terminal."""

import io
import sys

import pytest

from fashret import progress as module
from fashret.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, every: float) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "_EVERY", every)
    assert list(progress(range(5), desc="encoding", unit=" photos")) == [0, 1, 2, 3, 4]
    bar = progress(total=4, desc="hashing", unit="B", unit_scale=True)
    for _ in range(4):
        bar.update(1)
    bar.close()
    return stream.getvalue()


def test_a_file_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(io.StringIO(), monkeypatch, every=0.0)
    assert not set(text) & set("\r\x1b█▏")
    lines = text.splitlines()
    assert any(line.startswith("encoding:  60%, 3 of 5 photos, 00:00 passed,") for line in lines)
    assert any(line.startswith("hashing:  50%, 2.00 of 4.00B, 00:00 passed,") for line in lines)


def test_what_has_no_end_yet_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "_EVERY", 0.0)
    assert len(list(progress(iter(range(5)), desc="reading", unit=" items"))) == 5
    lines = stream.getvalue().splitlines()
    assert any(line.startswith("reading: 3 items, 00:00 passed, ") for line in lines)
    assert not any(" of " in line or " left" in line for line in lines)


def test_short_work_says_nothing_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), monkeypatch, every=60.0) == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\r" in shown(Terminal(), monkeypatch, every=60.0)
