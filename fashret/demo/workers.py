"""A thread pool with a bounded queue and a timeout, for the web server."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):  # noqa: N818  # a state of the server, not an error
    """The server is overloaded or too slow; the message says what to do."""


class Workers:
    """Runs functions in worker threads, so that the event loop is not blocked.

    Calls beyond the queue are refused at once, so that memory stays bounded.

    Args:
        threads: the number of concurrent calls.
        waiting: the number of calls that may wait for a thread.
        seconds: the timeout of a call, including its time in the queue. A function that exceeds it
            keeps its thread until it ends, since Python cannot stop it.
    """

    def __init__(self, *, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._slots = threading.BoundedSemaphore(threads + waiting)
        self._seconds = seconds

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a worker thread, and return its result.

        Args:
            function: the function; its exceptions are raised here.
            args: its arguments.

        Raises:
            Busy: the queue is full, or the call timed out.
        """
        if not self._slots.acquire(blocking=False):
            raise Busy("the server has too many requests to answer: try again in a few seconds")
        work = self._pool.submit(function, *args)
        work.add_done_callback(lambda _: self._slots.release())
        try:
            return await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(work)), timeout=self._seconds
            )
        except TimeoutError:
            raise Busy(
                f"no answer within {self._seconds:g} seconds: try again later, or with a smaller "
                "photo"
            ) from None
        finally:
            work.cancel()  # has no effect unless it still waits

    def close(self) -> None:
        """Refuse further calls, and cancel those that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)
