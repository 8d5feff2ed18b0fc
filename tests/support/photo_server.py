"""A server of photos on this machine, which also answers as servers should not."""

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


def photo(number: int) -> bytes:
    """A small photo that no other number has."""
    made = io.BytesIO()
    colour = (number * 37 % 256, number * 91 % 256, number % 256)
    Image.new("RGB", (24 + number % 7, 32), colour).save(made, "PNG")
    return made.getvalue()


class PhotoServer(ThreadingHTTPServer):
    """Answers `/<number>.png`, and other paths by their names.

    Attributes:
        asked: the number of requests by path.
        most_at_once: the most requests that it had at one time.
        pause: seconds before every answer.
        there: whether `/appears/...` is there.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.pause = 0.0
        self.there = False
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: PhotoServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # its name in http.server
        server, path = self.server, self.path.strip("/").partition("?")[0]
        with server.lock:
            server.asked[path] += 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            times = server.asked[path]
        try:
            time.sleep(server.pause)
            self._answer(path, times)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.at_once -= 1

    def _answer(self, path: str, times: int) -> None:
        name, server_port = path.partition("/")[0], self.server.server_address[1]
        if name.endswith(".png"):
            self._send(200, photo(int(name.removesuffix(".png"))), "image/png")
        elif name == "status":
            self._send(int(path.rpartition("/")[2]), b"no", "text/plain")
        elif name == "fails-once":
            self._send(*((503, b"", "text/plain") if times == 1 else (200, photo(1), "image/png")))
        elif name == "wait":
            head = {"Retry-After": "1"}
            if times == 1:
                self._send(429, b"", "text/plain", head)
            else:
                self._send(200, photo(2), "image/png")
        elif name == "moved":
            self._send(302, b"", "text/plain", {"Location": "/3.png"})
        elif name == "to-localhost":
            self._send(
                302, b"", "text/plain", {"Location": f"http://localhost:{server_port}/3.png"}
            )
        elif name == "circle":
            self._send(302, b"", "text/plain", {"Location": "/circle"})
        elif name == "to-file":
            self._send(302, b"", "text/plain", {"Location": "file:///etc/passwd"})
        elif name == "page":
            self._send(200, b"<html>", "text/html; charset=utf-8")
        elif name == "empty":
            self._send(200, b"", "image/png")
        elif name == "large":
            self._send(200, b"x" * 300_000, "image/png")
        elif name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"x" * 100)
            self.close_connection = True
        elif name == "endless":
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Connection", "close")
            self.end_headers()
            while True:
                self.wfile.write(b"x" * 1000)
                time.sleep(0.05)
        elif name == "to-nowhere":
            self._send(302, b"", "text/plain", {"Location": "http://[bad/"})
        elif name == "appears" and self.server.there:
            self._send(200, photo(4), "image/png")
        elif name == "trickle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                self.wfile.write(f"X-{number}: ".encode())
                time.sleep(0.1)
                self.wfile.write(b"x\r\n")
        elif name == "silent":
            time.sleep(5.0)
        else:
            self._send(404, b"", "text/plain")

    def _send(
        self, status: int, body: bytes, kind: str, head: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (head or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def photo_server() -> Iterator[PhotoServer]:
    """A running server."""
    server = PhotoServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
