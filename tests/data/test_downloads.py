"""Photos by URL, from a server that does all that servers do."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fashret.data.downloads import (
    FAILURES,
    Fetch,
    _is_public,
    _read_failures,
    fetch_photos,
    photo_file,
)
from fashret.errors import ConfigError, DataError
from support.photo_server import PhotoServer, photo, photo_server
from support.project import ROOT

OWN = Fetch(private=True, timeout=1.0, tries=2)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with photo_server() as made:
        yield made


def test_photos_are_fetched_once(server: PhotoServer, tmp_path: Path) -> None:
    urls = [server.url(f"{n}.png?width=1,2 3") for n in range(40)]
    assert fetch_photos([*urls, urls[0]], tmp_path, OWN) == {}
    assert [photo_file(tmp_path, url).read_bytes() for url in urls] == [photo(n) for n in range(40)]
    assert fetch_photos(urls, tmp_path, OWN) == {}
    assert set(server.asked.values()) == {1}
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 40 + 1  # and the lock


def test_one_server_has_few_requests_at_a_time(server: PhotoServer, tmp_path: Path) -> None:
    server.pause = 0.02
    urls = [server.url(f"{n}.png") for n in range(30)]
    fetch_photos(urls, tmp_path, Fetch(private=True, per_host=3))
    assert 1 < server.most_at_once <= 3


def test_what_servers_refuse_is_counted_and_not_asked_again(
    server: PhotoServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lasting = {
        "status/404": "status 404", "status/410": "status 410", "page": "no photo but text/html",
        "circle": "too many redirects", "empty": "empty",
    }  # fmt: skip
    passing = {
        "to-file": "not http or https", "large": "larger than 0.2 MB",
        "status/500": "status 500", "cut": "", "silent": "no answer in time",
        "endless": "took too long",
    }  # fmt: skip
    good = ["5.png", "fails-once", "wait", "moved"]
    options = Fetch(private=True, timeout=0.5, seconds=1.5, tries=2, megabytes=0.2)
    urls = [server.url(path) for path in (*lasting, *passing, *good)]
    failed = fetch_photos(urls, tmp_path, options)
    assert {url: failed[url] for url in map(server.url, lasting)} == {
        server.url(path): reason for path, reason in lasting.items()
    }
    assert failed.keys() == {server.url(path) for path in (*lasting, *passing)}
    for path, reason in passing.items():
        assert failed[server.url(path)] == reason or path == "cut", path
    expected = [photo(5), photo(1), photo(2), photo(3)]
    assert [photo_file(tmp_path, server.url(path)).read_bytes() for path in good] == expected
    assert "11 of 15 photos were not fetched" in caplog.text
    with (tmp_path / FAILURES).open() as file:
        assert {row["url"]: row["reason"] for row in csv.DictReader(file)} == {
            server.url(path): reason for path, reason in lasting.items()
        }
    before = server.asked.copy()
    again = fetch_photos(urls, tmp_path, options)
    assert again.keys() == failed.keys()
    assert all(server.asked[path] == before[path] for path in (*lasting, *good))
    assert all(server.asked[path] > before[path] for path in passing)
    fetch_photos([server.url("status/404")], tmp_path, Fetch(private=True, tries=1, again=True))
    assert server.asked["status/404"] == before["status/404"] + 1


def test_a_stranger_s_table_does_not_make_this_machine_ask_its_own_network(
    server: PhotoServer, tmp_path: Path
) -> None:
    port = server.server_address[1]
    hosts = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1")
    urls = [f"http://{host}:{port}/1.png" for host in hosts]
    urls += ["http://169.254.169.254/latest", "http://10.0.0.1/1.png", "file:///etc/passwd",
             "ftp://127.0.0.1/1.png", "http:///1.png"]  # fmt: skip
    failed = fetch_photos(urls, tmp_path, Fetch(tries=1, timeout=1.0))
    assert failed.keys() == set(urls)
    assert set(failed.values()) <= {
        "a private address (data.fetch.private=true allows it)", "not http or https",
        "no such host",
    }  # fmt: skip
    assert not server.asked
    private = ("::ffff:10.0.0.1", "fe80::1%eth0", "224.0.0.1", "100.64.0.1", "192.168.1.1")
    assert not any(map(_is_public, private))
    assert all(map(_is_public, ("8.8.8.8", "2606:4700::1")))


def test_a_redirect_to_a_private_address_is_refused(
    server: PhotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server is taken for a public one; the one that it points to is checked as well."""
    checked: list[str] = []

    def first_alone(address: str) -> bool:
        checked.append(address)
        return len(checked) == 1

    monkeypatch.setattr("fashret.data.downloads._is_public", first_alone)
    url = server.url("to-localhost")
    failed = fetch_photos([url], tmp_path, Fetch(tries=1, timeout=1.0))
    assert failed == {url: "a private address (data.fetch.private=true allows it)"}
    assert len(checked) >= 2
    assert dict(server.asked) == {"to-localhost": 1}
    assert fetch_photos([url], tmp_path / "own", OWN) == {}
    assert photo_file(tmp_path / "own", url).read_bytes() == photo(3)


def test_wrong_options_and_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.fetch.tries=0: must be above 0"):
        Fetch(tries=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be used"):
        fetch_photos(["http://x.y/1.png"], tmp_path / "file" / "photos", OWN)


FETCHES = """
import sys
from pathlib import Path
from fashret.data.downloads import Fetch, fetch_photos
urls = [f"{sys.argv[1]}{n}.png" for n in range(2000)]
print(len(fetch_photos(urls, Path(sys.argv[2]), Fetch(private=True))))
"""


def test_own_limits_hold_for_a_run_and_what_was_fetched_is_no_failure(
    server: PhotoServer, tmp_path: Path
) -> None:
    large, gone = server.url("large"), server.url("appears/later")
    small = Fetch(private=True, tries=1, megabytes=0.1)
    assert fetch_photos([large, gone], tmp_path, small).keys() == {large, gone}
    assert fetch_photos([large], tmp_path, OWN) == {}
    server.there = True
    assert fetch_photos([gone], tmp_path, OWN) == {gone: "status 404"}
    assert fetch_photos([gone], tmp_path, Fetch(private=True, again=True)) == {}
    assert fetch_photos([gone], tmp_path, OWN) == {}
    assert not _read_failures(tmp_path / FAILURES)


def test_what_is_no_url_or_no_list_of_failures_ends_no_run(
    server: PhotoServer, tmp_path: Path
) -> None:
    bad = ["https://[cdn]/a.jpg", "http://h:80a/1.png", "http://h:99999/1.png",
           "http://h/\udcff.png", "http://", server.url("to-nowhere")]  # fmt: skip
    (tmp_path / FAILURES).write_text("link,why\nx,y\n")
    failed = fetch_photos([*bad, server.url("1.png")], tmp_path, Fetch(private=True, tries=1))
    assert failed.keys() == set(bad)
    assert photo_file(tmp_path, server.url("1.png")).exists()


def test_headers_that_never_end_are_given_up(server: PhotoServer, tmp_path: Path) -> None:
    begun = time.monotonic()
    options = Fetch(private=True, tries=1, timeout=1.0, seconds=1.0)
    failed = fetch_photos([server.url("trickle")], tmp_path, options)
    assert failed == {server.url("trickle"): "took too long"}
    assert time.monotonic() - begun < 5.0


def test_a_host_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        urls = [f"http://127.0.0.1:{taken.getsockname()[1]}/{n}.png" for n in range(400)]
        begun = time.monotonic()
        failed = fetch_photos(urls, tmp_path, Fetch(private=True, tries=2))
    assert failed.keys() == set(urls)
    assert sum(reason.endswith("does not answer") for reason in failed.values()) > 300
    assert time.monotonic() - begun < 10.0


def test_two_processes_ask_once(server: PhotoServer, tmp_path: Path) -> None:
    server.pause = 0.02
    urls = [server.url(f"{n}.png") for n in range(30)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: fetch_photos(urls, tmp_path, OWN), range(2)))
    assert found == [{}, {}]
    assert set(server.asked.values()) == {1}


@pytest.mark.run
def test_a_killed_run_goes_on_without_fetching_again(server: PhotoServer, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FETCHES, server.url(""), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while sum(server.asked.values()) < 700 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = [n for n in range(2000) if photo_file(tmp_path, server.url(f"{n}.png")).exists()]
    assert 300 < len(whole) < 2000
    before = server.asked.copy()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "0"
    assert all(server.asked[f"{n}.png"] == before[f"{n}.png"] for n in whole)
    for n in range(0, 2000, 50):
        assert photo_file(tmp_path, server.url(f"{n}.png")).read_bytes() == photo(n)
