"""The search page's server: one page, its photos, and its answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from fashret.data.photos import decode_photo
from fashret.demo.search import Query, Search
from fashret.demo.workers import Busy, Workers
from fashret.errors import DataError
from fashret.reports.contact_sheet import thumbnail
from fashret.reports.web import render

_SIDE = 256
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; frame-ancestors 'none'"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes on at once, so that its memory and its answers' times stay bounded.

    A photo of 24 million pixels takes up to 0.6 GB while it is decoded.

    Attributes:
        photo_bytes: of a photo that is dropped on the page.
        photo_pixels: of such a photo.
        photos: dropped photos that are decoded and searched with at once.
        searches: searches without such a photo at once.
        thumbnails: photos of the catalog that are made small at once.
        waiting: requests of each of these kinds that may wait.
        seconds: for a photo to arrive, and for an answer.
    """

    photo_bytes: int = 10 * 2**20
    photo_pixels: int = 24_000_000
    photos: int = 2
    searches: int = 2
    thumbnails: int = 4
    waiting: int = 32
    seconds: float = 30.0


def application(search: Search, title: str, host: str, limits: Limits | None = None) -> Starlette:
    """The page of a search.

    Photos that are dropped on it are read in memory, decoded, and forgotten: none is written.
    Searches and decoding run in threads of their own, beside the event loop; a request that they
    cannot take on is answered with status 503 and the reason.
    On an address of this machine alone, it answers only to that machine's names, so that another
    site's page cannot reach it by a name of its own.
    """
    bounds = limits or Limits()
    photos, searches, thumbnails = (
        Workers(threads=threads, waiting=waiting, seconds=bounds.seconds)
        for threads, waiting in (
            (bounds.photos, bounds.waiting),
            (bounds.searches, bounds.waiting),
            (bounds.thumbnails, bounds.waiting * search.results),  # a page asks for all of them
        )
    )

    def page(_: Request) -> Response:
        facts = {
            "systems": [shelf.name for shelf in search.models],
            "values": search.values,
            "steered": search.steered,
            "items": len(search.rows),
        }
        html = render("search.html", title=title, data=facts)
        return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})

    async def photo(request: Request) -> Response:
        row = int(request.path_params["row"])
        if row not in search.rows:
            return JSONResponse({"error": f"there is no item {row} here"}, status_code=404)
        try:
            small = await thumbnails.run(lambda: thumbnail(search.table.photo(row), _SIDE))
        except Busy as e:
            return _later(e)
        return Response(small, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    def find(encoded: str, photo: bytes) -> list[dict[str, Any]]:
        return search.find(_query(encoded, photo, bounds.photo_pixels))

    async def answer(request: Request) -> Response:
        try:
            dropped = await _photo(request, bounds)
            encoded = request.query_params.get("query", "{}")
            workers = photos if dropped else searches
            return JSONResponse({"systems": await workers.run(find, encoded, dropped)})
        except DataError as e:
            return JSONResponse({"error": str(e)}, status_code=400)
        except Busy as e:
            return _later(e)

    @asynccontextmanager
    async def while_served(_: Starlette) -> AsyncIterator[None]:
        yield
        for workers in (photos, searches, thumbnails):
            workers.close()

    allowed = [*_LOCAL, host] if host in _LOCAL else ["*"]
    return Starlette(
        routes=[
            Route("/", page),
            Route("/photos/{row:int}", photo),
            Route("/search", answer, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed)],
        lifespan=while_served,
    )


def _later(busy: Busy) -> Response:
    return JSONResponse({"error": str(busy)}, status_code=503, headers={"Retry-After": "5"})


async def _photo(request: Request, limits: Limits) -> bytes:
    """The body of a request, which is a photo or nothing.

    Raises:
        DataError: it is too large, or does not arrive.
    """
    read = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                read += part
                if len(read) > limits.photo_bytes:
                    raise DataError(f"the photo is larger than {limits.photo_bytes // 2**20} MB")
    except TimeoutError:
        raise DataError(f"the photo did not arrive within {limits.seconds:g} seconds") from None
    return bytes(read)


def _query(encoded: str, photo: bytes, max_pixels: int) -> Query:
    """What a request asks.

    Raises:
        DataError: it is malformed, or the photo is not one.
    """
    try:
        asked = json.loads(encoded)
        if not isinstance(asked, dict):
            raise TypeError("it is not an object")
        return Query(
            text=str(asked.get("text", ""))[:1000],
            photo=decode_photo(photo, max_pixels=max_pixels) if photo else None,
            item=None if asked.get("item") is None else int(asked["item"]),
            weight_image=_within(asked.get("weight_image", 0.5), 1.0, "weight_image"),
            weights={
                str(name): _within(weight, 100.0, str(name))
                for name, weight in _mapping(asked.get("weights", {})).items()
            },
            filters={
                str(name): str(value) for name, value in _mapping(asked.get("filters", {})).items()
            },
        )
    except (ValueError, TypeError, OverflowError) as e:
        raise DataError(f"the query cannot be read: {e}") from e


def _mapping(value: object) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value


def _within(value: Any, most: float, name: str) -> float:
    if not 0.0 <= float(value) <= most:
        raise ValueError(f"{name} is {value}, not from 0 to {most:g}")
    return float(value)
