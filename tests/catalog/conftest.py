"""A prepared sample for all tests of catalogs."""

from pathlib import Path

import pytest

from fashret.data.augment import Augment
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import Sample


@pytest.fixture(scope="module")
def table(cache_dir: Path) -> ItemTable:
    source = Sample(
        name="s", attributes=["neckline"], products=60, views=5, seed=0, split_seed=0,
        splits={"train": 0.8, "validation": 0.1, "test": 0.1}, batch_size=8, num_workers=0,
        augment=Augment(flip=0.0, crop=0.0),
    )  # fmt: skip
    return prepare(source, cache_dir)
