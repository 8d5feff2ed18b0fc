"""The search page's server: what it refuses, and how many it answers."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from fashret.demo.search import Query, Search
from fashret.demo.server import Limits, application
from support.search_page import ask, hits

pytestmark = pytest.mark.run


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"item": 10**6}, "item 1000000"),
        ({"item": "x"}, "cannot be read"),
        ({"weight_image": 2}, "weight_image=2"),
        ({"weight_image": "nan"}, "weight_image=nan"),
        ({"weights": {"neckline": 1}}, "has an attribute head for neckline"),
        ({"filters": {"category": "spoons"}}, "no item has category spoons"),
        ({"filters": ["category"]}, "must be a JSON object"),
    ],
)
def test_a_wrong_query_is_one_message(client: TestClient, query: dict[str, Any], said: str) -> None:
    answer = ask(client, **query)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_what_is_no_query_is_one_message(client: TestClient) -> None:
    answer = client.post("/search", params={"query": "{"})
    assert (answer.status_code, "cannot be read" in answer.json()["error"]) == (400, True)
    assert client.get("/photos/999999").status_code == 404


def test_an_upload_is_checked_and_never_stored(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert (
        "not a photo in one of the formats" in ask(client, b"<svg onload=alert(1)>").json()["error"]
    )
    picture = io.BytesIO()
    Image.effect_noise((600, 800), 80).convert("RGB").save(picture, format="PNG")
    assert len(hits(client, picture.getvalue())) == 10
    assert list(tmp_path.iterdir()) == []
    answer = ask(client, bytes(10 * 2**20 + 1))
    assert (answer.status_code, answer.json()["error"]) == (400, "the photo is larger than 10 MB")


def test_many_clients_at_once_get_the_answers_of_one(client: TestClient) -> None:
    photo = io.BytesIO()
    Image.effect_noise((90, 120), 80).convert("RGB").save(photo, format="PNG")
    asked: list[tuple[bytes, dict[str, Any]]] = [
        (b"", {"text": "red " * length + "dress"}) for length in range(1, 12)
    ]
    asked += [(b"", {"item": 5, "text": "a long blue shirt"}), (photo.getvalue(), {"text": "hat"})]
    alone = [hits(client, given, **query) for given, query in asked]
    until = time.monotonic() + 2.0  # benchmarks/search_page.py takes longer

    def one_client(number: int) -> int:
        answered = 0
        while time.monotonic() < until:
            which = (number + answered) % len(asked)
            given, query = asked[which]
            assert hits(client, given, **query) == alone[which]
            answered += 1
        return answered

    with ThreadPoolExecutor(16) as clients:
        answered = sum(clients.map(one_client, range(16)))
    assert answered >= 32
    assert [hits(client, given, **query) for given, query in asked] == alone


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, format="PNG")
    return file.getvalue()


def test_a_photo_of_too_many_pixels_is_refused_before_it_is_decoded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, torn = png(5000, 5000), png(4800, 5000)[:200]  # 25 and 24 million
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it is decoded"))
    answer = ask(client, large)
    assert answer.status_code == 400
    assert "5000 x 5000 pixels are too many; at most 24,000,000 are accepted" in answer.text
    monkeypatch.undo()
    assert "truncated" in ask(client, torn).json()["error"]  # that many are decoded


class Slow:
    """A search that does not answer until it is let; in the place of a real one."""

    def __init__(self, search: Search) -> None:
        self.search, self.go, self.begun = search, threading.Event(), threading.Semaphore(0)
        self.running = self.most = 0
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.search, name)

    def find(self, query: Query) -> list[dict[str, Any]]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.go.wait(30)
        with self.lock:
            self.running -= 1
        return []


def test_what_exceeds_the_queue_is_refused_and_other_requests_are_answered(search: Search) -> None:
    slow = Slow(search)
    limits = Limits(photos=1, searches=2, waiting=1, seconds=20)
    app = application(slow, "sample", "127.0.0.1", limits)  # type: ignore[arg-type]
    with (
        TestClient(app, base_url="http://localhost") as client,
        ThreadPoolExecutor(8) as clients,
    ):
        asked = [clients.submit(ask, client, text="dress") for _ in range(6)]
        for _ in range(2):
            assert slow.begun.acquire(timeout=10)
        # Two run and one waits, so three are refused at once.
        refused = [future.result() for future in islice(as_completed(asked, timeout=10), 3)]
        assert {answer.status_code for answer in refused} == {503}
        assert "too many requests to answer: try again" in refused[0].json()["error"]
        assert refused[0].headers["retry-after"] == "5"
        with_photo = clients.submit(ask, client, png(9, 9))  # photos have a queue of their own
        assert slow.begun.acquire(timeout=10)
        assert client.get("/").status_code == 200  # the event loop is free
        slow.go.set()
        answers = [future.result() for future in asked] + [with_photo.result()]
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 3
    assert slow.most == 3


def test_an_answer_that_takes_too_long_says_so_and_the_server_goes_on(search: Search) -> None:
    slow = Slow(search)
    app = application(slow, "sample", "127.0.0.1", Limits(searches=1, waiting=1, seconds=0.2))  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        first, queued = ask(client, text="dress"), ask(client, text="dress")
        assert (first.status_code, queued.status_code) == (503, 503)
        assert "no answer within 0.2 seconds: try again later" in first.json()["error"]
        slow.go.set()
        assert slow.begun.acquire(timeout=10)
        for _ in range(100):  # until the thread is free again
            answer = ask(client, text="dress")
            if answer.status_code == 200:
                break
        assert answer.status_code == 200
        assert slow.begun.acquire(timeout=10)
        assert not slow.begun.acquire(timeout=0.1)  # what waited too long was not run


def test_another_sites_name_is_not_answered(search: Search) -> None:
    foreign = TestClient(application(search, "sample", "127.0.0.1"), base_url="http://evil.example")
    assert foreign.get("/").status_code == 400
    shared = TestClient(application(search, "sample", "0.0.0.0"), base_url="http://shop.example")
    assert shared.get("/").status_code == 200
