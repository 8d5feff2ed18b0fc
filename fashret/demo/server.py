"""The web server of the search page: the page, its photos, and its search results."""

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
from fashret.errors import DataError, FashretError
from fashret.reports.contact_sheet import thumbnail
from fashret.reports.web import render

_SIDE = 256
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; frame-ancestors 'none'"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the server, which bound its memory and response times.

    Decoding a photo of 24 million pixels takes up to 0.6 GB.

    Attributes:
        photo_bytes: the maximum size in bytes of an uploaded photo.
        photo_pixels: the maximum number of pixels of an uploaded photo.
        photos: concurrent searches with an uploaded photo.
        searches: concurrent searches without one.
        thumbnails: concurrent thumbnails of items.
        waiting: waiting requests of each of these kinds.
        seconds: the timeout of an upload, and of a response.
    """

    photo_bytes: int = 10 * 2**20
    photo_pixels: int = 24_000_000
    photos: int = 2
    searches: int = 2
    thumbnails: int = 4
    waiting: int = 32
    seconds: float = 30.0


def application(search: Search, title: str, host: str, limits: Limits | None = None) -> Starlette:
    """Make the web application of the search page.

    Uploaded photos are decoded in memory and never written to disk. Searches and decoding run in
    worker threads; a request beyond their limits gets status 503 and the reason. On a loopback
    address, only requests to this machine's names are answered (against DNS rebinding).

    Args:
        search: the items and models.
        title: the title of the page.
        host: the address that the server listens on.
        limits: the limits of the server; None for the defaults.
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
            "systems": [model.name for model in search.models],
            "values": search.values,
            "attribute_heads": search.attribute_heads,
            "items": len(search.rows),
        }
        html = render("search.html", title=title, data=facts)
        return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})

    async def photo(request: Request) -> Response:
        row = int(request.path_params["row"])
        if row not in search.rows:
            return JSONResponse({"error": f"item {row} is not on this page"}, status_code=404)
        try:
            small = await thumbnails.run(lambda: thumbnail(search.table.photo(row), _SIDE))
        except Busy as e:
            return _unavailable(e)
        return Response(small, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    def find(encoded: str, photo: bytes) -> list[dict[str, Any]]:
        return search.find(_query(encoded, photo, bounds.photo_pixels))

    async def answer(request: Request) -> Response:
        try:
            uploaded = await _photo(request, bounds)
            encoded = request.query_params.get("query", "{}")
            workers = photos if uploaded else searches
            return JSONResponse({"systems": await workers.run(find, encoded, uploaded)})
        except Busy as e:
            return _unavailable(e)
        except FashretError as e:
            return JSONResponse({"error": str(e)}, status_code=400)

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


def _unavailable(busy: Busy) -> Response:
    return JSONResponse({"error": str(busy)}, status_code=503, headers={"Retry-After": "5"})


async def _photo(request: Request, limits: Limits) -> bytes:
    """Read the body of a request: an uploaded photo, or nothing.

    Raises:
        DataError: the photo is too large, or does not arrive in time.
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
    """Parse the query of a request.

    Raises:
        DataError: the query is malformed, or the photo cannot be decoded.
    """
    try:
        fields = json.loads(encoded)
        if not isinstance(fields, dict):
            raise TypeError("it must be a JSON object")
        return Query(
            text=str(fields.get("text", ""))[:1000],
            photo=decode_photo(photo, max_pixels=max_pixels) if photo else None,
            item=None if fields.get("item") is None else int(fields["item"]),
            weight_image=_within(fields.get("weight_image", 0.5), 1.0, "weight_image"),
            weights={
                str(name): _within(weight, 100.0, str(name))
                for name, weight in _mapping(fields.get("weights", {})).items()
            },
            filters={
                str(name): str(value) for name, value in _mapping(fields.get("filters", {})).items()
            },
        )
    except (ValueError, TypeError, OverflowError) as e:
        raise DataError(f"the query cannot be read: {e}") from e


def _mapping(value: object) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} must be a JSON object")
    return value


def _within(value: Any, maximum: float, name: str) -> float:
    if not 0.0 <= float(value) <= maximum:
        raise ValueError(f"{name}={value} must be between 0 and {maximum:g}")
    return float(value)
