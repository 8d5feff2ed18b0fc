"""Hashes of contents: the right ones, and no file is read twice for nothing."""

import hashlib
import os
from pathlib import Path

import pytest

from fashret.data import file_hashes
from fashret.data.file_hashes import contents_digest
from fashret.errors import DataError


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []
    hashed = file_hashes._hash

    def noted(path: str) -> str:
        names.append(os.path.basename(path))
        return hashed(path)

    monkeypatch.setattr(file_hashes, "_hash", noted)
    return names


def files(folder: Path, number: int = 700) -> list[tuple[str, Path]]:
    """More than are looked up at a time."""
    folder.mkdir(exist_ok=True)
    for i in range(number):
        (folder / f"{i}").write_bytes(b"%d" % i)
    return [(f"{i}", folder / f"{i}") for i in range(number)]


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    named = files(tmp_path / "a", 2)
    expected = hashlib.blake2b(digest_size=16)
    for i in range(2):
        content = hashlib.blake2b(b"%d" % i, digest_size=16).hexdigest()
        expected.update(f"{i}\0{content}\n".encode())
    assert contents_digest(named, tmp_path / "index") == expected.hexdigest()
    assert contents_digest(files(tmp_path / "b", 2), tmp_path / "other") == expected.hexdigest()


def test_only_files_that_changed_are_read_again(tmp_path: Path, read: list[str]) -> None:
    named, index = files(tmp_path / "a"), tmp_path / "index"
    first = contents_digest(named, index)
    assert len(read) == 700
    read.clear()
    assert contents_digest(named, index) == first
    assert read == []
    os.utime(tmp_path / "a" / "5", ns=(7, 7))  # touched, with the same content
    assert contents_digest(named, index) == first
    assert read == ["5"]
    (tmp_path / "a" / "6").write_bytes(b"another")
    assert contents_digest(named, index) != first
    assert read == ["5", "6"]


def test_files_that_changed_places_are_read_again(tmp_path: Path, read: list[str]) -> None:
    """Of equal size and time of change, as an archive may make them."""
    named, index = files(tmp_path / "a", 9), tmp_path / "index"
    for _, path in named:
        os.utime(path, ns=(7, 7))
    first = contents_digest(named, index)
    for old, new in (("5", "x"), ("6", "5"), ("x", "6")):
        (tmp_path / "a" / old).rename(tmp_path / "a" / new)
    assert contents_digest(named, index) != first


def test_a_folder_and_a_name_that_cannot_be_are_no_files(tmp_path: Path) -> None:
    named = files(tmp_path / "a", 2)
    whole = contents_digest(named, tmp_path / "index")
    more = [("d", tmp_path), ("n", "a\0b"), ("l", "x" * 5000), ("s", "/caf\udce9")]
    assert contents_digest([*named, *more], tmp_path / "index") != whole


def test_a_missing_file_counts_as_such(tmp_path: Path) -> None:
    named, index = files(tmp_path / "a", 3), tmp_path / "index"
    whole = contents_digest(named, index)
    content = (tmp_path / "a" / "1").read_bytes()
    (tmp_path / "a" / "1").unlink()
    assert contents_digest(named, index) != whole
    (tmp_path / "a" / "1").write_bytes(content)
    assert contents_digest(named, index) == whole


def test_what_was_hashed_before_a_kill_is_kept(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named, index = files(tmp_path / "a"), tmp_path / "index"
    monkeypatch.setattr(file_hashes, "cores", lambda: 1)
    noted = file_hashes._hash

    def killed(path: str) -> str:
        if len(read) == 130:  # parts of 64 are committed
            raise KeyboardInterrupt
        return noted(path)

    monkeypatch.setattr(file_hashes, "_hash", killed)
    with pytest.raises(KeyboardInterrupt):
        contents_digest(named, index)
    monkeypatch.setattr(file_hashes, "_hash", noted)
    known = len(read)
    contents_digest(named, index)
    assert len(read) - known == 700 - 128


def test_an_index_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"index, which keeps the hashes of data files, fails"):
        contents_digest(files(tmp_path / "a", 2), tmp_path / "index")
