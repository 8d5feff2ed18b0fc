"""The search page's server: one page, its photos, and its answers."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from fashret.data.photos import decode_photo
from fashret.demo.search import Query, Search
from fashret.errors import DataError
from fashret.reports.picture import thumbnail
from fashret.reports.web import render

MOST_BYTES = 10 * 2**20
"""Of a photo that is dropped on the page."""

_SIDE = 256
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; frame-ancestors 'none'"


def application(search: Search, title: str, host: str) -> Starlette:
    """The page of a search.

    Photos that are dropped on it are read in memory, decoded, and forgotten: none is written.
    On an address of this machine alone, it answers only to that machine's names, so that another
    site's page cannot reach it by a name of its own.
    """

    async def page(_: Request) -> Response:
        facts = {
            "systems": [shelf.name for shelf in search.shelves],
            "values": search.values,
            "steered": search.steered,
            "items": len(search.rows),
        }
        html = render("search.html", title=title, data=facts)
        return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})

    def photo(request: Request) -> Response:
        row = int(request.path_params["row"])
        if row not in search.rows:
            return JSONResponse({"error": f"there is no item {row} here"}, status_code=404)
        small = thumbnail(search.table.photo(row), _SIDE)
        return Response(small, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    async def answer(request: Request) -> Response:
        try:
            asked = _query(request.query_params.get("query", "{}"), await _photo(request))
            return JSONResponse({"systems": await run_in_threadpool(search.find, asked)})
        except DataError as e:
            return JSONResponse({"error": str(e)}, status_code=400)

    allowed = [*_LOCAL, host] if host in _LOCAL else ["*"]
    return Starlette(
        routes=[
            Route("/", page),
            Route("/photos/{row:int}", photo),
            Route("/search", answer, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed)],
    )


async def _photo(request: Request) -> bytes:
    """The body of a request, which is a photo or nothing.

    Raises:
        DataError: it is too large.
    """
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > MOST_BYTES:
            raise DataError(f"the photo is larger than {MOST_BYTES // 2**20} MB")
    return bytes(read)


def _query(encoded: str, photo: bytes) -> Query:
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
            photo=decode_photo(photo) if photo else None,
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
