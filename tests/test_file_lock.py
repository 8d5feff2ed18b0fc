"""Whoever waits for a lock says for what."""

import logging
import threading
from pathlib import Path

import pytest

from fashret import file_lock as module
from fashret.errors import DataError
from fashret.file_lock import file_lock


def test_a_command_that_waits_says_what_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    caplog.set_level(logging.INFO, "fashret")
    path, entered, order = tmp_path / "a.lock", threading.Event(), []

    def wait() -> None:
        with file_lock(path, "data sample"):
            order.append("second")

    with file_lock(path, "data sample"):
        thread = threading.Thread(target=wait)
        thread.start()
        entered.wait(0.5)
        assert "waiting for another process that prepares data sample" in caplog.text
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_free_lock_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fashret")
    with file_lock(tmp_path / "a.lock", "data sample"):
        pass
    assert caplog.text == ""


def test_a_lock_that_cannot_be_made_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.lock", tmp_path / "missing" / "x.lock"):
        refused = pytest.raises(DataError, match=r"x.lock cannot be written \(.*\), which protects")
        with refused, file_lock(path, "a test"):
            pass
