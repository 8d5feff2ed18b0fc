"""Pairs in tiers of the untrained model's catalog: what is written, and what comes into batches."""

import json
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
from fashret.loading.samplers import ShuffledSampler
from fashret.miners import PairMiner
from fashret.types import TrainingItems
from support.commands import Run
from support.mining import catalog, items, partners

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
    masks = pair_tiers(TierCodes.from_items(table)[:, None], TierCodes.from_items(table)[None])
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
    material = table.labels["material"][0].tolist()
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
    assert "pairs: found 4 of 7 strong pairs" in caplog.text
    assert "pairs: only 4 for 8 training items; miner.count=7 is too small" in caplog.text


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
    batches = miner.compose(ShuffledSampler(np.arange(100), batch_size=20, seed=0), seed=0)
    seen = 0
    for batch in islice(batches, 5):
        rows = set(batch.rows.tolist())
        seen += sum(bool(known[row] & rows) for row in rows)
    assert seen > 60  # of 100; a row of a random batch has a partner in it far less often


def test_a_run_with_pairs_leaves_them_in_its_folder(run: Run) -> None:
    run.cache_dir = run.root / "cache"  # it holds this catalog alone
    options = ("miner=pairs", "miner.count=200", "loss=attribute_aware", "trainer.max_epochs=2")
    mining = run("train", *options) / "mining"
    pairs = pd.read_parquet(mining / "pairs.parquet")
    stats = json.loads((mining / "pairs_stats.json").read_text())
    assert list(stats) == list(TIERS)
    for tier, counts in stats.items():
        of_tier = pairs[pairs["tier"] == tier]
        assert len(of_tier) == counts["made"] <= counts["asked"]
        assert of_tier["anchor_id"].nunique() == counts["anchors"]
    assert stats["strong"]["made"] == 48  # 24 training products of two photos
    assert stats["strong"]["mean_similarity"] > stats["easy"]["mean_similarity"]
    meta = pd.read_parquet(next(run.cache_dir.glob("catalogs/*sample*/catalog_meta.parquet")))
    split = dict(zip(meta["item_id"], meta["split"], strict=True))
    assert {split[item] for item in (*pairs["anchor_id"], *pairs["other_id"])} == {"train"}
