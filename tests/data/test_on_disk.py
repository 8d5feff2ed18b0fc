"""Sets that are kept on disk: what a missing or an empty root says."""

from pathlib import Path

import pytest

from fashret.config import build
from fashret.data.preparation import prepare
from fashret.errors import DataError
from support.commands import composed
from support.official_sets import Prepare

OFFICIAL = [
    "deepfashion_attributes", "deepfashion_consumer2shop", "deepfashion_inshop",
    "deepfashion_multimodal", "fashion200k", "fashion_products", "fashioniq", "hm", "polyvore",
]  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_missing_root_says_where_the_set_is_to_be_had(name: str, tmp_path: Path) -> None:
    for root in ("null", str(tmp_path / "nowhere")):
        cfg = composed("evaluate", [f"data={name}", f"data.root={root}"])
        with pytest.raises(DataError, match=r"expected .*; download it from http"):
            prepare(build(cfg.data), tmp_path)


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_empty_root_names_what_it_lacks(name: str, tmp_path: Path, made: Prepare) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"has no .*: expected"):
        made(name)
