"""Hard negatives of the untrained model's catalog: what is written, and what comes into batches."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fashret.errors import ConfigError
from fashret.loading.samplers import ShuffledSampler
from fashret.miners import (
    HardMiner,
)
from fashret.miners.hard import partner_table
from fashret.types import Relations
from support.commands import Run
from support.mining import ANGLES, catalog, items, partners


def test_a_run_with_hard_negatives_leaves_them_in_its_folder(run: Run) -> None:
    folder = run("train", "miner=hard", "miner.attributes=[neckline]", "trainer.max_epochs=3")
    frame = pd.read_parquet(folder / "mining" / "hard_negatives.parquet")
    counts = json.loads((folder / "mining" / "hard_negatives.json").read_text())
    assert len(frame) == counts["kept"] > 0
    assert all(list(differs) == ["neckline"] for differs in frame["differs"])
    assert not (frame["anchor_id"].str[:-2] == frame["negative_id"].str[:-2]).any()


def test_hard_negatives_are_written_by_their_ids(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    miner = HardMiner(folder=str(tmp_path / "a" / "mining"), attributes=["neckline"], keep=2)
    with caplog.at_level(logging.INFO):
        miner.prepare(items(), catalog())
    frame = pd.read_parquet(tmp_path / "a" / "mining" / "hard_negatives.parquet")
    # Of the tees 1 to 4 item 1 is round, the others square, and 1 and 2 are one product. Of the
    # skirts 5 to 8 items 5 and 7 are round, 6 is square, and nothing is known of 8.
    expected = [
        ("item1", "item3", 2), ("item1", "item4", 3), ("item3", "item1", 2), ("item4", "item1", 3),
        ("item5", "item6", 1), ("item6", "item5", 1), ("item6", "item7", 2), ("item7", "item6", 1),
    ]  # fmt: skip
    found = list(zip(frame["anchor_id"], frame["negative_id"], frame["rank"], strict=True))
    assert found == expected
    assert all(list(differs) == ["neckline"] for differs in frame["differs"])
    cosines = [np.cos(np.deg2rad(ANGLES[int(a[-1])] - ANGLES[int(b[-1])])) for a, b, _ in expected]
    assert frame["similarity"].tolist() == pytest.approx(cosines, abs=1e-3)  # stored in halves
    counts = json.loads((tmp_path / "a" / "mining" / "hard_negatives.json").read_text())
    assert counts == {
        "asked": 24, "kept": 8, "same product": 2, "same caption": 0, "no difference": 14,
        "beyond miner.keep": 0,
    }  # fmt: skip
    assert "24 asked, 8 kept, 2 same product" in caplog.text
    assert partners(miner) == [set(), {3, 4}, set(), {1}, {1}, {6}, {5, 7}, {6}, set(), set()]


def test_every_attribute_but_the_category_counts_by_default(tmp_path: Path) -> None:
    miner = HardMiner(folder=str(tmp_path), keep=5)
    miner.prepare(items(), catalog())
    frame = pd.read_parquet(tmp_path / "hard_negatives.parquet")
    differs = {
        (a, b): list(names)
        for a, b, names in zip(
            frame["anchor_id"], frame["negative_id"], frame["differs"], strict=True
        )
    }
    assert differs["item1", "item3"] == ["neckline", "material"]
    assert differs["item3", "item4"] == ["material"]
    assert differs["item6", "item8"] == ["material"]
    # What stands beside it: 2 and 4 agree in both; a pair of 1 and 2 is of one product.
    assert {(1, 2), (2, 4)}.isdisjoint({(int(a[-1]), int(b[-1])) for a, b in differs})


def test_depth_and_keep_bound_what_is_looked_at_and_kept(tmp_path: Path) -> None:
    miner = HardMiner(folder=str(tmp_path), depth=1, keep=5)
    miner.prepare(items(), catalog())
    frame = pd.read_parquet(tmp_path / "hard_negatives.parquet")
    assert set(frame["rank"]) == {1}
    # The nearest of its kind: of 1 it is 2 (its product), of 2 it is 1, of 3 it is 2 and of 4 it
    # is 3, that differ; of 5 it is 6, of 6 it is 5, of 7 it is 6 and of 8 it is 7, alike.
    assert frame["anchor_id"].tolist() == ["item3", "item4", "item5", "item6", "item7"]
    assert frame["negative_id"].tolist() == ["item2", "item3", "item6", "item5", "item6"]
    miner = HardMiner(folder=str(tmp_path), depth=50, keep=1)
    miner.prepare(items(), catalog())
    kept = pd.read_parquet(tmp_path / "hard_negatives.parquet")
    assert kept["anchor_id"].is_unique
    expected: list[set[int]] = [set() for _ in range(10)]
    for a, b in zip(kept["anchor_id"], kept["negative_id"], strict=True):
        expected[int(a[-1])].add(int(b[-1]))
    assert partners(miner) == expected
    assert [row for row, found in enumerate(expected) if found] == list(range(1, 9))
    counts = json.loads((tmp_path / "hard_negatives.json").read_text())
    assert counts["kept"] == len(kept) == 8
    assert counts["beyond miner.keep"] > 0


def test_a_miner_without_attributes_finds_nothing(tmp_path: Path) -> None:
    miner = HardMiner(folder=str(tmp_path), attributes=[])
    miner.prepare(items(), catalog())
    assert len(pd.read_parquet(tmp_path / "hard_negatives.parquet")) == 0
    assert partners(miner) == [set()] * 10


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"random": -0.1}, "random=-0.1"),
        ({"random": 1.1}, "random=1.1"),
        ({"ramp": -1}, "ramp=-1"),
        ({"depth": 0}, "depth=0"),
        ({"keep": 0}, "keep=0"),
    ],
)
def test_a_miner_that_cannot_be_is_answered(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HardMiner(folder=".", **options)


def test_a_miner_at_its_bounds_is_accepted(tmp_path: Path) -> None:
    for options in ({"random": 0.0, "ramp": 0}, {"random": 1.0}, {"depth": 1, "keep": 1}):
        HardMiner(folder=str(tmp_path), **options)  # type: ignore[arg-type]


def test_an_attribute_that_the_data_lacks_is_named(tmp_path: Path) -> None:
    message = "miner.attributes names collar; the data has neckline, material"
    with pytest.raises(ConfigError, match=message):
        HardMiner(folder=str(tmp_path), attributes=["collar"]).prepare(items(), catalog())
    with pytest.raises(ConfigError, match=r"miner.attributes names category"):
        HardMiner(folder=str(tmp_path), attributes=["category"]).prepare(items(), catalog())


def test_batches_are_composed_as_the_miner_was_asked(tmp_path: Path) -> None:
    miner = HardMiner(folder=str(tmp_path), ramp=4, random=0.25)
    miner.prepare(items(), catalog())
    inner = ShuffledSampler(np.arange(1, 9), batch_size=4, seed=0)
    batches: Any = miner.compose(inner, seed=7)
    assert batches.batches is inner
    assert batches.seed == 7
    assert [batches.replaced_share(epoch) for epoch in (0, 2, 4, 9)] == pytest.approx(
        [0, 0.375, 0.75, 0.75]
    )
    given = Relations(torch.eye(2).bool(), ~torch.eye(2).bool())
    assert miner.select(torch.eye(2), torch.eye(2), given) is given


def test_partners_stand_in_the_row_of_their_anchor() -> None:
    table = partner_table(np.array([1, 1, 1, 4]), np.array([7, 8, 9, 2]), 6)
    assert table.tolist() == [
        [-1, -1, -1], [7, 8, 9], [-1, -1, -1], [-1, -1, -1], [2, -1, -1], [-1, -1, -1],
    ]  # fmt: skip
    none = np.zeros(0, dtype=np.int64)
    assert partner_table(none, none, 3).shape == (3, 0)
    assert partner_table(np.array([0]), np.array([2]), 3).tolist() == [[2], [-1], [-1]]
