"""The search page of the sample."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from fashret.demo.search import Search, Shelf
from fashret.demo.server import application
from fashret.pipelines.systems import judged_system
from support.commands import SMALL, composed


@pytest.fixture(scope="module")
def search(cache_dir: Path) -> Search:
    cfg = composed(
        "demo", [*SMALL, f"paths.cache_dir={cache_dir}", "paths.output_dir=none", "device=cpu"]
    )
    system = judged_system(cfg)
    rows = system.setup.rows(None)
    image = system.embeddings.image[torch.from_numpy(rows)].float()
    shelf = Shelf(system.name, system.towers, image, system.embeddings.text[rows].float())
    return Search([shelf], system.setup.table, system.setup.codes, rows, results=10)


@pytest.fixture(scope="module")
def client(search: Search) -> Iterator[TestClient]:
    with TestClient(application(search, "sample", "127.0.0.1"), base_url="http://localhost") as c:
        yield c
