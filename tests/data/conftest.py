"""What the tests of data share: tables and official sets, prepared as a command would."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fashret.config import build
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import FashionProducts
from support.commands import composed
from support.fashion_products import HEADER, STYLES
from support.official_sets import Prepare
from support.sources import COMMON, folder, photo
from support.tables import Shop


@pytest.fixture
def made(tmp_path: Path) -> Prepare:
    """Prepare a set as a command would, from the folder `set` beside the cache."""

    def prepared(name: str, *overrides: str) -> ItemTable:
        root = f"data.root={tmp_path / 'set'}"
        cfg = composed("evaluate", [f"data={name}", root, "data.num_workers=0", *overrides])
        return prepare(build(cfg.data), tmp_path / "cache")

    return prepared


@pytest.fixture
def products(tmp_path: Path) -> FashionProducts:
    root = tmp_path / "fashion-products"
    for i in [*range(1, 5), *range(6, 10), *range(11, 21)]:
        photo(root / "images" / f"{i}.jpg", seed=7 if i == 8 else i)
    torn = root / "images" / "6.jpg"
    torn.write_bytes(torn.read_bytes()[:200])
    (root / "styles.csv").write_text("\n".join([HEADER, *STYLES]) + "\n")
    attributes = ["colour", "gender", "usage", "season", "sub_category"]
    return FashionProducts(name="fp", attributes=attributes, root=str(root), **COMMON)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Prepare a folder of twelve photos, `0.jpg` to `11.jpg`, by a table that is given."""
    for i in range(12):
        photo(tmp_path / "shop" / f"{i}.jpg", seed=i)

    def make(table: str | bytes | pa.Table, name: str = "items.csv", **options: Any) -> ItemTable:
        path = tmp_path / "shop" / name
        if isinstance(table, pa.Table):
            pq.write_table(table, path)
        else:
            path.write_bytes(table.encode() if isinstance(table, str) else table)
        return prepare(folder(tmp_path / "shop", table=name, **options), tmp_path)

    return make
