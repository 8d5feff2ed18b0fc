"""The search page of the sample."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from fashret.demo.search import IndexedModel, Search
from fashret.demo.server import application
from support.commands import SMALL, system_of


@pytest.fixture(scope="module")
def search(cache_dir: Path) -> Search:
    system = system_of(
        "demo", [*SMALL, f"paths.cache_dir={cache_dir}", "paths.output_dir=none", "device=cpu"]
    )
    session = system.session
    rows = session.rows(None)
    image = system.embeddings.image[torch.from_numpy(rows)].float()
    text = system.embeddings.text[rows].float()
    model = IndexedModel(system.name, system.towers, image, text)
    return Search([model], session.table, session.codes, rows, results=10)


@pytest.fixture(scope="module")
def client(search: Search) -> Iterator[TestClient]:
    with TestClient(application(search, "sample", "127.0.0.1"), base_url="http://localhost") as c:
        yield c
