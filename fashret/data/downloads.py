"""Photos by URL: fetched once, each into a file that is named by the hash of its URL."""

import csv
import email.utils
import hashlib
import ipaddress
import logging
import os
import random
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from fashret.errors import ConfigError, DataError
from fashret.progress import progress
from fashret.version import __version__

log = logging.getLogger(__name__)

FAILURES = "failures.csv"

_REDIRECTS = 5
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a server that may answer the next time."""

_THREADS = 32
_AT_ONCE = 4096
"""URLs that are handed out at a time."""

_LONGEST_WAIT = 60.0
"""Seconds that a server's Retry-After is waited for, at most."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """How photos are fetched from the servers that a table names.

    Args:
        private: whether addresses of one's own network may be asked: loopback, 10.0.0.0/8 and the
            like. A table of a stranger could otherwise make this machine ask them.
        per_host: requests that one server has at a time.
        tries: tries of a photo whose server fails, each after twice the wait of the one before.
        timeout: seconds without an answer after which a try has failed.
        seconds: seconds after which a photo is given up, however slowly it comes.
        megabytes: the size above which a photo is not fetched.
        again: whether photos that a server refused before, such as 404, are asked for again.
    """

    private: bool = False
    per_host: int = 4
    tries: int = 4
    timeout: float = 10.0
    seconds: float = 60.0
    megabytes: float = 30.0
    again: bool = False

    def __post_init__(self) -> None:
        for name in ("per_host", "tries", "timeout", "seconds", "megabytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"data.fetch.{name}={getattr(self, name)}: must be above 0")


class _FetchError(Exception):
    """A photo that was not fetched; `lasting` if the next try would fail as well."""

    def __init__(self, reason: str, *, lasting: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.lasting, self.wait = reason, lasting, wait


class _CheckedNetwork(httpcore.SyncBackend):
    """Connects to the address that a host's name resolves to, if it may be asked."""

    def __init__(self, private: bool) -> None:
        self.private = private

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise _FetchError("no such host", lasting=False) from e
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self.private:
            addresses = [each for each in addresses if _is_public(each)]
            if not addresses:
                raise _FetchError(
                    "a private address (data.fetch.private=true allows it)", lasting=True
                )
        # The checked address itself is asked, so that a name cannot mean another one meanwhile.
        return super().connect_tcp(addresses[0], port, timeout, *args, **options)


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


def photo_file(folder: Path, url: str) -> Path:
    """Return the file of a fetched photo, whether it exists or not."""
    name = hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return folder / name[:2] / name


def fetch_photos(urls: Iterable[str], folder: Path, options: Fetch) -> Mapping[str, str]:
    """Fetch the photos that are not there yet, several at a time.

    A photo comes whole or not at all, so that a killed run goes on where it was. What a server
    refused for good is not asked for again, unless `options.again`.

    Args:
        urls: http and https URLs.
        folder: where fetched photos are kept, named by the hash of their URL (`photo_file`), and
            `failures.csv`, the photos that were not fetched and why.
        options: how they are fetched.

    Returns:
        Why a photo was not fetched, by URL.

    Raises:
        DataError: the folder cannot be written.
    """
    wanted = list(dict.fromkeys(urls))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lasting = {} if options.again else _read_failures(folder / FAILURES)
    except OSError as e:
        raise DataError(f"data.photos={folder} cannot be used: {e.strerror}") from e
    failed = {url: lasting[url] for url in wanted if url in lasting}
    missing = [url for url in wanted if url not in failed and not photo_file(folder, url).exists()]
    if not missing:
        return failed
    log.info("fetching %d photos of %d hosts into %s", len(missing), len(_hosts(missing)), folder)
    fetcher = _Fetcher(folder, options)
    refused: dict[str, str] = {}
    with fetcher, ThreadPoolExecutor(_THREADS) as pool:
        try:
            bar = progress(total=len(missing), desc="photos", unit=" photos")
            turns = _in_turns(missing)
            for begin in range(0, len(turns), _AT_ONCE):
                part = turns[begin : begin + _AT_ONCE]
                for url, failure in pool.map(fetcher.fetch, part):
                    bar.update()
                    if failure is not None:
                        failed[url] = failure.reason
                        if failure.lasting:
                            refused[url] = failure.reason
            bar.close()
        except BaseException:
            fetcher.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            _write_failures(folder / FAILURES, {**_read_failures(folder / FAILURES), **refused})
    counts = ", ".join(f"{n}: {reason}" for reason, n in Counter(failed.values()).most_common())
    if failed:
        log.warning("%d of %d photos were not fetched (%s)", len(failed), len(wanted), counts)
    return failed


class _Fetcher:
    """Fetches photos with one pool of connections."""

    def __init__(self, folder: Path, options: Fetch) -> None:
        self.folder, self.options = folder, options
        self.stopped = threading.Event()
        self._pool = httpcore.ConnectionPool(
            max_connections=_THREADS,
            max_keepalive_connections=_THREADS,
            keepalive_expiry=10.0,
            network_backend=_CheckedNetwork(options.private),
        )
        self._gates: defaultdict[str, threading.Semaphore] = defaultdict(
            lambda: threading.Semaphore(options.per_host)
        )
        self._lock = threading.Lock()

    def __enter__(self) -> "_Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def fetch(self, url: str) -> tuple[str, _FetchError | None]:
        """Fetch a photo, in several tries; return why it was not fetched."""
        failure = None
        for number in range(self.options.tries):
            try:
                with self._gate(url):
                    self._fetch_once(url)
                return url, None
            except _FetchError as e:
                failure = e
            except (httpcore.TimeoutException, TimeoutError):
                failure = _FetchError("no answer in time", lasting=False)
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as e:
                failure = _FetchError(f"connection failed ({type(e).__name__})", lasting=False)
            if failure.lasting or number + 1 == self.options.tries:
                break
            pause = max(failure.wait, 0.5 * 2**number * random.uniform(0.5, 1.5))
            if self.stopped.wait(min(pause, _LONGEST_WAIT)):
                break
        return url, failure

    def _gate(self, url: str) -> threading.Semaphore:
        with self._lock:
            return self._gates[urlsplit(url).netloc]

    def _fetch_once(self, url: str) -> None:
        begun = time.monotonic()
        target = url
        for _ in range(_REDIRECTS + 1):
            if self.stopped.is_set():
                raise _FetchError("interrupted", lasting=False)
            target = _encoded(target)
            with self._pool.stream(
                "GET",
                target,
                headers={"User-Agent": f"fashret/{__version__}", "Accept": "image/*,*/*;q=0.5"},
                extensions={
                    "timeout": dict.fromkeys(
                        ("connect", "read", "write", "pool"), self.options.timeout
                    )
                },
            ) as answer:
                headers = {
                    key.decode().lower(): value.decode("latin-1") for key, value in answer.headers
                }
                if answer.status in (301, 302, 303, 307, 308) and "location" in headers:
                    target = urljoin(target, headers["location"])
                    continue
                if answer.status != 200:
                    raise _FetchError(
                        f"status {answer.status}",
                        lasting=answer.status not in _AGAIN,
                        wait=_seconds(headers.get("retry-after", "")),
                    )
                kind = headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind.startswith(("text/", "video/", "audio/")) or kind.endswith("json"):
                    raise _FetchError(f"no photo but {kind}", lasting=True)
                self._write(url, answer.iter_stream(), headers.get("content-length", ""), begun)
                return
        raise _FetchError("too many redirects", lasting=True)

    def _write(self, url: str, parts: Iterable[bytes], length: str, begun: float) -> None:
        most = self.options.megabytes * 2**20
        too_large = _FetchError(f"larger than {self.options.megabytes:g} MB", lasting=True)
        if length.isdigit() and int(length) > most:
            raise too_large
        path = photo_file(self.folder, url)
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        size = 0
        try:
            with draft.open("wb") as file:
                for part in parts:
                    size += len(part)
                    if size > most:
                        raise too_large
                    if time.monotonic() - begun > self.options.seconds:
                        raise _FetchError("took too long", lasting=False)
                    file.write(part)
            if length.isdigit() and size != int(length):
                raise _FetchError("cut off", lasting=False)
            if not size:
                raise _FetchError("empty", lasting=True)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _encoded(url: str) -> str:
    """The URL with spaces and letters beyond ASCII escaped.

    Raises:
        _FetchError: it is not http or https.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _FetchError("not http or https", lasting=True)
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _seconds(retry_after: str) -> float:
    """The seconds that a server asks to wait."""
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _hosts(urls: Sequence[str]) -> set[str]:
    return {urlsplit(url).netloc for url in urls}


def _in_turns(urls: Sequence[str]) -> list[str]:
    """The URLs, one of each host in turn, so that no host holds up the others."""
    number: Counter[str] = Counter()
    places = []
    for url in urls:
        host = urlsplit(url).netloc
        places.append(number[host])
        number[host] += 1
    return [url for _, url in sorted(zip(places, urls, strict=True), key=lambda pair: pair[0])]


def _read_failures(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["url"]: row["reason"] for row in csv.DictReader(file)}


def _write_failures(path: Path, failures: Mapping[str, str]) -> None:
    if not failures:
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("url", "reason"), *sorted(failures.items())])
    draft.replace(path)
