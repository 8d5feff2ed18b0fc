"""A bounded number of threads that compute answers, and a bounded queue before them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):  # noqa: N818  # it is a state of the server, not a fault of the request
    """The server cannot answer now; the message says what to do."""


class Workers:
    """Runs functions in threads of its own, so that the event loop stays free.

    What exceeds the queue is refused at once: memory stays bounded, and who asks learns of it.

    Args:
        threads: functions that run at once.
        waiting: calls that may wait for a thread.
        seconds: how long a call may take, with its time in the queue. A function that takes longer
            goes on, and keeps its thread until it ends: Python cannot stop it.
    """

    def __init__(self, *, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._seconds = seconds

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """What the function returns or raises.

        Raises:
            Busy: the queue is full, or the time is over.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("the server has too many requests to answer: try again in a few seconds")
        work = self._pool.submit(function, *args)
        work.add_done_callback(lambda _: self._places.release())
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
            work.cancel()  # it has ended, or it still waits, or it cannot be stopped

    def close(self) -> None:
        """Take no more calls, and forget those that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)
