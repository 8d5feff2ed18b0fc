"""Miners of the untrained model's catalog: what they write, and what comes into batches."""

import json
import logging
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.functional.tiers import TIERS, TierCodes, pair_tiers
from fashret.loading.samplers import ShuffledBatches
from fashret.miners import HardMiner, PairMiner
from fashret.miners.hard import partner_table
from fashret.types import Relations, TrainingItems

# Ten items in the plane, a few degrees apart. Training rows are 1 to 8; 0 and 9 are of other
# splits.
ANGLES = [0.5, 0.0, 1.0, 3.0, 7.0, 10.0, 15.0, 21.0, 28.0, 0.2]
KIND = [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
NECKLINE = [1, 0, 1, 1, 1, 0, 1, 0, -1, 1]
MATERIAL = [0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
PRODUCT = [8, 0, 0, 1, 2, 3, 4, 5, 6, 9]


def items() -> TrainingItems:
    described = {
        "category": (torch.tensor(KIND), ["tees", "skirts"]),
        "neckline": (torch.tensor(NECKLINE), ["round", "square"]),
        "material": (torch.tensor(MATERIAL), ["cotton", "denim"]),
    }
    return TrainingItems(
        torch.arange(1, 9),
        torch.tensor(PRODUCT),
        torch.arange(10),
        described,
        [f"item{i}" for i in range(10)],
        {"medium": ["material"], "weak": ["neckline"]},
    )


def catalog() -> Any:
    angles = torch.tensor(ANGLES).deg2rad()
    image = torch.stack([angles.cos(), angles.sin()], dim=1)
    return SimpleNamespace(image=image.half(), text=image)


def partners(miner: HardMiner) -> list[set[int]]:
    """The partners of each row of the table, as they come into batches."""
    batches: Any = miner.compose(ShuffledBatches(np.arange(1, 9), batch_size=4, seed=0), seed=0)
    return [set(row.tolist()) - {-1} for row in batches.partners]


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
    message = "miner.attributes names collar; there are neckline, material"
    with pytest.raises(ConfigError, match=message):
        HardMiner(folder=str(tmp_path), attributes=["collar"]).prepare(items(), catalog())
    with pytest.raises(ConfigError, match=r"miner.attributes names category"):
        HardMiner(folder=str(tmp_path), attributes=["category"]).prepare(items(), catalog())


def test_batches_are_composed_as_the_miner_was_asked(tmp_path: Path) -> None:
    miner = HardMiner(folder=str(tmp_path), ramp=4, random=0.25)
    miner.prepare(items(), catalog())
    inner = ShuffledBatches(np.arange(1, 9), batch_size=4, seed=0)
    batches: Any = miner.compose(inner, seed=7)
    assert batches.batches is inner
    assert batches.seed == 7
    assert [batches.share(epoch) for epoch in (0, 2, 4, 9)] == pytest.approx([0, 0.375, 0.75, 0.75])
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


SHARES = {"strong": 0.25, "medium": 0.25, "weak": 0.25, "hard": 0.125, "easy": 0.125}


def many_items(seed: int = 0) -> tuple[TrainingItems, Any]:
    """120 items, of which the first 100 are trained on, in reverse."""
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int) -> torch.Tensor:
        return torch.randint(0, high, (120,), generator=generator)

    described = {
        "category": (codes(3), ["a", "b", "c"]),
        "neckline": (codes(4), list("wxyz")),
        "material": (codes(3), list("uvw")),
    }
    image = normalize(torch.randn(120, 6, generator=generator), dim=1)
    made = TrainingItems(
        torch.arange(100).flip(0), codes(60), codes(100), described, [f"i{n}" for n in range(120)],
        {"medium": ["material"], "weak": ["neckline"]},
    )  # fmt: skip
    return made, SimpleNamespace(image=image, text=image)


def test_pairs_of_every_tier_are_written_and_come_into_batches(tmp_path: Path) -> None:
    table, baseline = many_items()
    miner = PairMiner(folder=str(tmp_path), count=400, shares=SHARES, seed=3, keep=2, depth=9)
    miner.prepare(table, baseline)
    frame = pd.read_parquet(tmp_path / "pairs.parquet")
    stats = json.loads((tmp_path / "pairs_stats.json").read_text())
    assert list(stats) == list(TIERS)
    masks = pair_tiers(TierCodes.over(table)[:, None], TierCodes.over(table)[None])
    for tier in TIERS:
        part = frame[frame["tier"] == tier]
        a, b = (part[f"{side}_id"].str[1:].astype(int) for side in ("anchor", "other"))
        assert bool(getattr(masks, tier)[a.tolist(), b.tolist()].all())
        assert ((a < 100) & (b < 100)).all()
        cosines = (baseline.image[a.tolist()] * baseline.image[b.tolist()]).sum(dim=1)
        assert part["similarity"].to_numpy() == pytest.approx(cosines.numpy(), abs=1e-6)
        assert stats[tier] == {
            "asked": 400 * SHARES[tier],
            "made": len(part),
            "anchors": part["anchor_id"].nunique(),
            "mean_similarity": pytest.approx(float(cosines.mean()), abs=1e-6),
        }
    assert stats["easy"]["made"] == 50
    hard = pd.read_parquet(tmp_path / "hard_negatives.parquet")
    places = dict(
        zip(zip(hard["anchor_id"], hard["negative_id"], strict=True), hard["rank"], strict=True)
    )
    ranked = frame[frame["rank"] > 0]
    assert len(ranked) == stats["hard"]["made"] == 50  # there are more than were asked for
    for row in ranked.itertuples():
        assert row.tier == "hard"
        assert places[row.anchor_id, row.other_id] == row.rank
    expected: list[set[int]] = [set() for _ in range(120)]
    for a, b in zip(frame["anchor_id"].str[1:], frame["other_id"].str[1:], strict=True):
        expected[int(a)].add(int(b))
    assert partners(miner) == expected


def test_the_seed_decides_the_pairs(tmp_path: Path) -> None:
    table, baseline = many_items()
    found = []
    for seed in (3, 3, 4):
        miner = PairMiner(folder=str(tmp_path), count=200, shares=SHARES, seed=seed)
        miner.prepare(table, baseline)
        frame = pd.read_parquet(tmp_path / "pairs.parquet")
        found.append(list(zip(frame["anchor_id"], frame["other_id"], strict=True)))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_hard_pairs_differ_in_the_attributes_that_are_asked_for(tmp_path: Path) -> None:
    table, baseline = many_items()
    shares = {"hard": 1.0}
    miner = PairMiner(
        folder=str(tmp_path), count=900, shares=shares, seed=0, keep=1, attributes=["material"]
    )
    miner.prepare(table, baseline)
    frame = pd.read_parquet(tmp_path / "pairs.parquet")
    assert (frame["rank"] == 0).any()  # mined ones were not enough
    material = table.described["material"][0].tolist()
    for a, b in zip(frame["anchor_id"], frame["other_id"], strict=True):
        assert material[int(a[1:])] != material[int(b[1:])]


def test_tiers_that_come_short_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    miner = PairMiner(folder=str(tmp_path), count=8, shares={"strong": 0.5, "easy": 0.5}, seed=0)
    miner.prepare(items(), catalog())
    stats = json.loads((tmp_path / "pairs_stats.json").read_text())
    # Items 1 and 2 are one product, 2 and 4 agree in all, both ways round: four strong pairs.
    assert stats["strong"]["made"] == stats["easy"]["made"] == 4
    assert stats["hard"] == {"asked": 0, "made": 0, "anchors": 0, "mean_similarity": None}
    assert "pairs: " not in caplog.text
    miner = PairMiner(folder=str(tmp_path), count=7, shares={"strong": 1.0}, seed=0)
    miner.prepare(items(), catalog())
    assert "pairs: 4 of 7 strong pairs were found" in caplog.text
    assert "pairs: 4 of 8 training items; miner.count=7 asks for too few" in caplog.text


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (0, {"strong": 1.0}),
        (5, {"strong": 0.6}),
        (5, {"strong": 1.1}),
        (5, {"strong": 0.5, "strange": 0.5}),
    ],
)
def test_shares_that_cannot_be_are_answered(count: int, shares: dict[str, float]) -> None:
    message = "must be of strong, medium, weak, hard, easy and add up to 1"
    with pytest.raises(ConfigError, match=message):
        PairMiner(folder=".", count=count, shares=shares, seed=0)
    PairMiner(folder=".", count=1, shares={"strong": 0.7, "easy": 0.3}, seed=0)


def test_partners_are_seen_beside_their_anchors(tmp_path: Path) -> None:
    table, baseline = many_items()
    miner = PairMiner(folder=str(tmp_path), count=2000, shares=SHARES, seed=0, ramp=0, random=0.0)
    miner.prepare(table, baseline)
    known = partners(miner)
    batches = miner.compose(ShuffledBatches(np.arange(100), batch_size=20, seed=0), seed=0)
    seen = 0
    for batch in islice(batches, 5):
        rows = set(batch.rows.tolist())
        seen += sum(bool(known[row] & rows) for row in rows)
    assert seen > 60  # of 100; a row of a random batch has a partner in it far less often
