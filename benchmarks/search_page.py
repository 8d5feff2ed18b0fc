"""The search page under load: sixteen clients at once, and the largest photos that it accepts.

    python benchmarks/search_page.py [--clients 16] [--seconds 10]

`fashret-demo` serves the drawn sample. Clients ask with texts of many lengths, with items and with
photos, one request after another; every answer must be the one that the same request had before,
alone. Then eight clients upload a photo of 24 million pixels at once, while another types texts:
how long does it wait at the most, and how much memory does the server take?
"""

import io
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from measure import Options, Row, benchmark
from PIL import Image

WORDS = "red dress with a round neck and long sleeves in blue denim for summer".split()

HUGE = (6000, 4000)

UPLOADS = 8


class Request(NamedTuple):
    """What a client asks."""

    query: dict[str, Any]
    photo: bytes = b""


class Answer(NamedTuple):
    """What it is told: status 0 where the server did not answer."""

    status: int
    said: Any
    seconds: float


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """The address and the process of a server."""
    command = [sys.executable, "-m", "fashret.cli.demo", "data=sample", "port=0", "device=cpu"]
    command += ["results=10", "hydra.run.dir=.", "hydra.output_subdir=null"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = next(line for line in process.stdout if "http://" in line)
            yield found.split("http://")[1].split()[0], process.pid
        finally:
            process.terminate()


def ask(address: str, request: Request) -> Answer:
    given = urllib.parse.urlencode({"query": json.dumps(request.query)})
    start = time.perf_counter()
    try:
        asked = urllib.request.Request(
            f"http://{address}/search?{given}", data=request.photo, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=120) as answer:
            status, said = answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        status, said = e.code, e.read().decode(errors="replace")
    except OSError as e:
        status, said = 0, str(e)
    return Answer(status, said, time.perf_counter() - start)


def requests(address: str) -> list[Request]:
    """Texts of one word to fourteen, items, photos, and two of them at once."""
    texts = [" ".join(WORDS[:length]) for length in range(1, len(WORDS) + 1)]
    rows = [hit["row"] for hit in ask(address, Request({})).said["systems"][0]["hits"]]
    photos = []
    for row in rows[:3]:
        with urllib.request.urlopen(f"http://{address}/photos/{row}", timeout=30) as photo:
            photos.append(photo.read())
    made = [Request({"text": text}) for text in texts]
    made += [Request({"item": row, "text": text}) for row, text in zip(rows, texts, strict=False)]
    return made + [
        Request({"text": text}, p) for p, text in zip(photos, ["", *texts], strict=False)
    ]


def same(left: Any, right: Any) -> bool:
    """Whether two answers have the same items in the same order, with the same scores."""
    pairs = zip(left["systems"][0]["hits"], right["systems"][0]["hits"], strict=True)
    return all(a["row"] == b["row"] and abs(a["score"] - b["score"]) < 1e-5 for a, b in pairs)


def peak_gib(pid: int, *, begin: bool = False) -> float:
    """Memory of the server, at the most since it was last begun to be counted."""
    if begin:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def under_load(address: str, clients: int, seconds: float) -> Iterator[Row]:
    """Many clients at once, and the same questions before and after."""
    asked = requests(address)
    before = [ask(address, request) for request in asked]
    assert all(answer.status == 200 for answer in before), [a.said for a in before]
    until = time.perf_counter() + seconds

    def client(number: int) -> list[tuple[int, Answer]]:
        got = []
        for place in itertools.count(number):
            if time.perf_counter() > until:
                break
            which = place * 7 % len(asked)  # clients are at different requests
            got.append((which, ask(address, asked[which])))
        return got

    with ThreadPoolExecutor(clients) as pool:
        answers = [answer for got in pool.map(client, range(clients)) for answer in got]
    failed = [answer for _, answer in answers if answer.status != 200]
    other = sum(
        not same(answer.said, before[which].said)
        for which, answer in answers
        if answer.status == 200
    )
    taken = sorted(answer.seconds for _, answer in answers)
    what = f"{clients} clients for {seconds:g} s"
    note = f"{len(answers)} answers; seconds for one: median {taken[len(taken) // 2]:.3f}, "
    note += f"longest {taken[-1]:.3f}"
    if failed:
        note += f"; {failed[0].status}: {str(failed[0].said)[:100]}"
    yield Row(
        f"errors, {what}", "", len(failed), unit="answers", ratio=len(failed), bound=0, note=note
    )
    yield Row(f"other answers than alone, {what}", "", other, unit="answers", ratio=other, bound=0)
    after = [ask(address, request) for request in asked]
    other = sum(
        b.status != 200 or not same(a.said, b.said) for a, b in zip(before, after, strict=True)
    )
    yield Row("other answers afterwards", "", other, unit="answers", ratio=other, bound=0)


def uploads(address: str, pid: int) -> Iterator[Row]:
    """The largest photos at once."""
    file = io.BytesIO()
    Image.new("RGBA", HUGE, (200, 30, 40, 128)).save(file, "PNG")
    resting, done = peak_gib(pid, begin=True), threading.Event()
    waits = []

    def typing() -> None:
        while not done.is_set():
            waits.append(ask(address, Request({"text": "red dress"})))
            time.sleep(0.05)

    typist = threading.Thread(target=typing)
    typist.start()
    with ThreadPoolExecutor(UPLOADS) as pool:
        photos = list(
            pool.map(lambda _: ask(address, Request({}, file.getvalue())), range(UPLOADS))
        )
    done.set()
    typist.join()
    size = f"{HUGE[0]:,} x {HUGE[1]:,}"
    note = f"longest wait for the photos {max(p.seconds for p in photos):.1f} s, answered with "
    note += ", ".join(map(str, sorted({p.status for p in photos})))
    longest = max(wait.seconds for wait in waits)
    assert all(wait.status == 200 for wait in waits), [wait.said for wait in waits]
    what = f"{UPLOADS} uploads of {size}"
    yield Row(f"longest wait for a text, {what}", "", longest, note=note)
    yield Row(f"memory above rest, {what}", "", peak_gib(pid) - resting, unit="GiB")


def rows(options: Options) -> Iterator[Row]:
    with served() as (address, pid):
        yield from under_load(
            address, options.more.clients, 2 if options.quick else options.more.seconds
        )
        yield from uploads(address, pid)


if __name__ == "__main__":
    benchmark(
        rows,
        __doc__,
        ("--clients", {"type": int, "default": 16}),
        ("--seconds", {"type": float, "default": 10.0}),
    )
