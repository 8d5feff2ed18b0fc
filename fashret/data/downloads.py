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
from fashret.file_lock import file_lock
from fashret.progress import progress
from fashret.version import __version__

log = logging.getLogger(__name__)

FAILURES = "failures.csv"

_REDIRECTS = 5
_AGAIN = (403, 408, 425, 429)
"""Statuses, beside those from 500 on, of a server that may answer the next time."""

_DEAD = 20
"""Connections in a row that fail before a host is given up."""

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
        seconds: seconds after which a try is given up, however slowly the photo comes.
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
    """A photo that was not fetched.

    Attributes:
        reason: why, in few words.
        again: whether another try may succeed.
        kept: whether the server's answer is final, so that later runs need not ask.
        wait: seconds that the server asks to wait.
    """

    def __init__(
        self, reason: str, *, again: bool = False, kept: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.kept, self.wait = reason, again, kept, wait


_deadline = threading.local()
"""When the try of the photo that a thread fetches is given up."""


class _Timed(httpcore.NetworkStream):
    """A stream that ends when the time of a photo is over, however little comes at a time."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if time.monotonic() > getattr(_deadline, "at", float("inf")):
            raise _FetchError("took too long", again=True)
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedNetwork(httpcore.SyncBackend):
    """Connects to the address that a host's name resolves to, if it may be asked."""

    def __init__(self, private: bool) -> None:
        self.private = private

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, OverflowError) as e:
            raise _FetchError("no such host", again=True) from e
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self.private:
            addresses = [each for each in addresses if _is_public(each)]
            if not addresses:
                raise _FetchError("a private address (data.fetch.private=true allows it)")
        # The checked address itself is asked, so that a name cannot mean another one meanwhile.
        return _Timed(super().connect_tcp(addresses[0], port, timeout, *args, **options))


_EMBEDDING = [ipaddress.ip_network(net) for net in ("64:ff9b::/96", "2002::/16", "::/96")]
"""IPv6 networks whose addresses stand for IPv4 ones."""


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is None and any(parsed in network for network in _EMBEDDING):
        return False
    parsed = mapped or parsed
    is_local = getattr(parsed, "is_site_local", False)
    return parsed.is_global and not parsed.is_multicast and not is_local


def photo_file(folder: Path, url: str) -> Path:
    """Return the file of a fetched photo, whether it exists or not."""
    name = hashlib.blake2b(url.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return folder / name[:2] / name


def fetch_photos(urls: Iterable[str], folder: Path, options: Fetch) -> Mapping[str, str]:
    """Fetch the photos that are not there yet, several at a time.

    A photo comes whole or not at all, so that a killed run goes on where it was, and of several
    processes one fetches. What a server refused for good is not asked for again, unless
    `options.again`.

    Args:
        urls: http and https URLs.
        folder: where fetched photos are kept, named by the hash of their URL (`photo_file`), and
            `failures.csv`, the photos that servers refused and why.
        options: how they are fetched.

    Returns:
        Why a photo was not fetched, by URL.

    Raises:
        DataError: the folder cannot be written.
    """
    wanted = list(dict.fromkeys(urls))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / "fetching.lock", "photos by URL"):
            return _fetch_missing(wanted, folder, options)
    except OSError as e:
        raise DataError(f"data.photos={folder} cannot be used: {e.strerror or e}") from e


def _fetch_missing(wanted: Sequence[str], folder: Path, options: Fetch) -> Mapping[str, str]:
    """Fetch what is not there yet; see `fetch_photos`."""
    known = _read_failures(folder / FAILURES)
    missing = [url for url in wanted if not photo_file(folder, url).exists()]
    failed = {} if options.again else {url: known[url] for url in missing if url in known}
    missing = [url for url in missing if url not in failed]
    if not missing:
        return failed
    hosts = len(set(map(_host, missing)))
    log.info("fetching %d photos of %d hosts into %s", len(missing), hosts, folder)
    fetcher = _Fetcher(folder, options)
    with fetcher, ThreadPoolExecutor(_THREADS) as pool:
        try:
            bar = progress(total=len(missing), desc="photos", unit=" photos")
            turns = _in_turns(missing)
            for begin in range(0, len(turns), _AT_ONCE):
                for url, failure in pool.map(fetcher.fetch, turns[begin : begin + _AT_ONCE]):
                    bar.update()
                    known.pop(url, None)
                    if failure is not None:
                        failed[url] = failure.reason
                    if failure is not None and failure.kept:
                        known[url] = failure.reason
            bar.close()
        except BaseException:
            fetcher.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            _write_failures(folder / FAILURES, known)
    if failed:
        counts = Counter(failed.values()).most_common()
        reasons = ", ".join(f"{count}: {reason}" for reason, count in counts)
        log.warning("%d of %d photos were not fetched (%s)", len(failed), len(wanted), reasons)
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
        self._silent: Counter[str] = Counter()

    def __enter__(self) -> "_Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def fetch(self, url: str) -> tuple[str, _FetchError | None]:
        """Fetch a photo, in several tries; return why it was not fetched.

        Raises:
            OSError: the photo cannot be written.
        """
        host, failure = _host(url), None
        for number in range(self.options.tries):
            if self._silent[host] >= _DEAD:
                return url, _FetchError(f"{host} does not answer", again=True)
            failure = self._try(url, host)
            if failure is None or not failure.again or number + 1 == self.options.tries:
                break
            pause = max(failure.wait, 0.5 * 2**number * random.uniform(0.5, 1.5))
            if self.stopped.wait(min(pause, _LONGEST_WAIT)):
                break
        return url, failure

    def _try(self, url: str, host: str) -> _FetchError | None:
        with self._lock:
            gate = self._gates[host]
        try:
            with gate:
                _deadline.at = time.monotonic() + self.options.seconds
                self._fetch_once(url)
        except _FetchError as e:
            return e
        except (httpcore.TimeoutException, TimeoutError):
            self._silent[host] += 1
            return _FetchError("no answer in time", again=True)
        except (httpcore.NetworkError, httpcore.ProtocolError) as e:
            self._silent[host] += isinstance(e, httpcore.ConnectError)
            return _FetchError(f"connection failed ({type(e).__name__})", again=True)
        except (ValueError, httpcore.UnsupportedProtocol):
            return _FetchError("no URL that can be asked")
        self._silent[host] = 0
        return None

    def _fetch_once(self, url: str) -> None:
        target = url
        for _ in range(_REDIRECTS + 1):
            if self.stopped.is_set():
                raise _FetchError("interrupted")
            target = _encoded(target)
            waits = dict.fromkeys(("connect", "read", "write", "pool"), self.options.timeout)
            with self._pool.stream(
                "GET",
                target,
                headers={
                    "User-Agent": f"fashret/{__version__}",
                    "Accept": "image/*,*/*;q=0.5",
                    "Accept-Encoding": "identity",
                },
                extensions={"timeout": waits},
            ) as answer:
                headers = {
                    key.decode("latin-1").lower(): value.decode("latin-1")
                    for key, value in answer.headers
                }
                if answer.status in (301, 302, 303, 307, 308) and "location" in headers:
                    target = urljoin(target, headers["location"])
                    continue
                _check_answer(answer.status, headers)
                self._write(url, answer.iter_stream(), headers.get("content-length", ""))
                return
        raise _FetchError("too many redirects", kept=True)

    def _write(self, url: str, parts: Iterable[bytes], length: str) -> None:
        most = self.options.megabytes * 2**20
        too_large = _FetchError(f"larger than {self.options.megabytes:g} MB")
        stated = int(length) if length.isascii() and length.isdecimal() else None
        if stated is not None and stated > most:
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
                    file.write(part)
            if stated is not None and size != stated:
                raise _FetchError("cut off", again=True)
            if not size:
                raise _FetchError("empty", kept=True)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _check_answer(status: int, headers: Mapping[str, str]) -> None:
    """Raise _FetchError for an answer that is no photo."""
    if status != 200:
        raise _FetchError(
            f"status {status}",
            again=status in _AGAIN or status >= 500,
            kept=status in (404, 410),
            wait=_seconds(headers.get("retry-after", "")),
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(("text/", "video/", "audio/")) or kind.endswith("json"):
        raise _FetchError(f"no photo but {kind}", kept=True)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _FetchError(f"packed as {headers['content-encoding']}")


def _encoded(url: str) -> str:
    """The URL with spaces and letters beyond ASCII escaped.

    Raises:
        _FetchError: it is not http or https.
        ValueError: it is no URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _FetchError("not http or https")
    _ = parts.port  # a ValueError for what is none
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _seconds(retry_after: str) -> float:
    """The seconds that a server asks to wait."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _host(url: str) -> str:
    """The host and port of a URL; "" for what is no URL."""
    try:
        return urlsplit(url).netloc.casefold()
    except ValueError:
        return ""


def _in_turns(urls: Sequence[str]) -> list[str]:
    """The URLs, one of each host in turn, so that no host holds up the others."""
    number: Counter[str] = Counter()
    places = []
    for url in urls:
        host = _host(url)
        places.append(number[host])
        number[host] += 1
    return [url for _, url in sorted(zip(places, urls, strict=True), key=lambda pair: pair[0])]


def _read_failures(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [row for row in csv.DictReader(file) if row.get("url")]
    return {row["url"]: row.get("reason") or "refused before" for row in rows}


def _write_failures(path: Path, failures: Mapping[str, str]) -> None:
    if not failures and not path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerows([("url", "reason"), *sorted(failures.items())])
    draft.replace(path)
