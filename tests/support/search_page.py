"""Questions to the search page."""

import json
from typing import Any

import httpx
from starlette.testclient import TestClient


def ask(client: TestClient, photo: bytes = b"", **query: Any) -> httpx.Response:
    return client.post("/search", params={"query": json.dumps(query)}, content=photo)


def hits(client: TestClient, photo: bytes = b"", **query: Any) -> list[dict[str, Any]]:
    answer = ask(client, photo, **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["systems"][0]["hits"]
    return found
