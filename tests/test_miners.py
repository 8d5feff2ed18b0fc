"""Miners: nothing that is known to be right is ever mined as wrong."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Run
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.mining import hard_negatives
from fashret.loading.mined_sampler import MinedBatches
from fashret.loading.samplers import ShuffledBatches
from fashret.miners import (
    DistanceWeightedMiner,
    MultiSimilarityMiner,
    NoMiner,
    SemiHardMiner,
)
from fashret.miners.base import Miner
from fashret.types import Relations

ONLINE = [NoMiner(), SemiHardMiner(), MultiSimilarityMiner(), DistanceWeightedMiner(keep=3)]


def random_table(seed: int) -> dict[str, Tensor]:
    """60 items with few kinds, products, captions and values, many of them unknown."""
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int, *shape: int) -> Tensor:
        return torch.randint(-1, high, shape or (60,), generator=generator)

    return {
        "embeddings": normalize(torch.randn(60, 8, generator=generator), dim=1),
        "kind": codes(3),
        "product": codes(15),
        "caption": codes(20),
        "attributes": codes(3, 60, 2),
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_known_positive_is_never_mined_as_a_negative(seed: int) -> None:
    table = random_table(seed)
    found = hard_negatives(**table, depth=12, keep=3)
    assert len(found.anchor) > 0
    kind, product, caption = table["kind"], table["product"], table["caption"]
    for a, b, differs in zip(
        found.anchor.tolist(), found.negative.tolist(), found.differs.tolist(), strict=True
    ):
        assert a != b
        assert kind[a] == kind[b] != -1
        assert product[a] != product[b] or product[a] == -1
        assert caption[a] != caption[b] or caption[a] == -1
        x, y = table["attributes"][a].tolist(), table["attributes"][b].tolist()
        assert differs == [i != j and -1 not in (i, j) for i, j in zip(x, y, strict=True)]
        assert any(differs)
    counts = dict(found.counts)
    assert counts.pop("asked") == sum(counts.values())


def test_hard_negatives_are_the_nearest_that_qualify() -> None:
    table = random_table(3)
    found = hard_negatives(**table, depth=60, keep=4)
    similarity = (table["embeddings"].double() @ table["embeddings"].double().T).tolist()
    kind, product, caption = (table[n].tolist() for n in ("kind", "product", "caption"))
    attributes = table["attributes"].tolist()
    for a in range(60):
        near = sorted(
            (b for b in range(60) if b != a and kind[b] == kind[a] != -1),
            key=lambda b: -similarity[a][b],
        )
        expected = [
            (b, rank)
            for rank, b in enumerate(near, start=1)
            if not (product[a] == product[b] != -1 or caption[a] == caption[b] != -1)
            and any(
                x != y and -1 not in (x, y)
                for x, y in zip(attributes[a], attributes[b], strict=True)
            )
        ][:4]
        mine = found.anchor == a
        pairs = zip(found.negative[mine].tolist(), found.rank[mine].tolist(), strict=True)
        assert list(pairs) == expected


@pytest.mark.parametrize("miner", ONLINE, ids=lambda miner: type(miner).__name__)
@pytest.mark.parametrize("seed", range(5))
def test_a_miner_only_narrows(miner: Miner, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (normalize(torch.randn(30, 8, generator=generator), dim=1) for _ in range(2))
    kind = torch.randint(0, 3, (30, 30), generator=generator)  # 0 right, 1 wrong, 2 neither
    given = Relations(kind == 0, kind == 1)
    left = miner.select(rows, columns, given)
    assert not (left.positive & ~given.positive).any()
    assert not (left.negative & ~given.negative).any()
    assert left.negative.any()
    again = miner.select(rows, columns, given)
    assert torch.equal(left.negative, again.negative)
    none = torch.zeros(30, 30, dtype=torch.bool)
    assert not miner.select(rows, columns, Relations(none, none)).negative.any()


def test_semihard_negatives_are_farther_than_the_positive_but_near() -> None:
    similarity = torch.tensor([[0.5, 0.6, 0.4, 0.2], [0.9, 0.1, 0.8, 0.7]])
    positive = torch.tensor([[True, False, False, False], [False, True, False, False]])
    left = SemiHardMiner(margin=0.2).of_rows(similarity, Relations(positive, ~positive), dim=8)
    assert left.negative.tolist() == [
        [False, False, True, False],  # 0.6 is nearer than the positive, 0.2 too far
        [True, False, False, False],  # all are nearer: the nearest
    ]


def test_distance_weighting_draws_near_negatives_more_often_than_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = normalize(torch.randn(64, 256, generator=generator), dim=1)
    columns = normalize(torch.randn(64, 256, generator=generator), dim=1)
    columns[:8] = normalize(rows[:1] + 0.06 * torch.randn(8, 256, generator=generator), dim=1)
    given = Relations(torch.zeros(64, 64).bool(), torch.ones(64, 64).bool())
    left = DistanceWeightedMiner(keep=8).of_rows(rows @ columns.T, given, dim=256)
    assert int(left.negative[0, :8].sum()) == 8
    assert left.negative.sum(dim=1).tolist() == [8] * 64


def test_batches_move_from_random_to_hard() -> None:
    partners = np.full((100, 3), -1)
    partners[:50] = np.arange(50, 100)[:, None]  # the partner of 0 is 50, of 1 is 51
    batches = MinedBatches(
        ShuffledBatches(np.arange(50), batch_size=20, seed=0),
        partners,
        ramp=4,
        random=0.5,
        seed=0,
    )
    for epoch, expected in enumerate([0, 2, 5, 7, 10, 10]):
        batches.set_epoch(epoch)
        for batch in batches:
            rows = batch.rows.tolist()
            assert len(rows) == len(set(rows)) == 20
            mined = [row for row in rows if row >= 50]
            assert len(mined) == expected
            assert all(row - 50 in rows for row in mined)
    first = [batch.rows.tolist() for batch in batches]
    assert first == [batch.rows.tolist() for batch in batches]


def test_batches_keep_the_anchors_of_what_is_mined() -> None:
    partners = np.full((100, 1), -1)
    partners[:50, 0] = np.arange(50, 100)
    inner = ShuffledBatches(np.arange(50), batch_size=20, seed=0)
    for batch in MinedBatches(inner, partners, ramp=0, random=0.0, seed=0):
        rows = batch.rows.tolist()
        assert sum(row >= 50 for row in rows) == 10  # one partner each: half can be mined
        assert all(row - 50 in rows for row in rows if row >= 50)


def test_a_batch_without_partners_keeps_its_rows() -> None:
    partners = np.full((50, 2), -1)
    inner = ShuffledBatches(np.arange(50), batch_size=10, seed=0)
    batches = MinedBatches(inner, partners, ramp=0, random=0.2, seed=0)
    assert [sorted(b.rows.tolist()) for b in batches] == [sorted(b.rows.tolist()) for b in inner]


def test_a_run_with_hard_negatives_leaves_them_in_its_folder(run: Run) -> None:
    folder = run("train", "miner=hard", "miner.attributes=[neckline]", "trainer.max_epochs=3")
    frame = pd.read_parquet(folder / "mining" / "hard_negatives.parquet")
    counts = json.loads((folder / "mining" / "hard_negatives.json").read_text())
    assert len(frame) == counts["kept"] > 0
    assert all(list(differs) == ["neckline"] for differs in frame["differs"])
    assert not (frame["anchor_id"].str[:-2] == frame["negative_id"].str[:-2]).any()


@pytest.mark.parametrize(("depth", "keep"), [(1, 1), (5, 2), (12, 3), (100, 100)])
def test_hard_negatives_and_their_counts_equal_a_loop(depth: int, keep: int) -> None:
    table = random_table(7)
    table["embeddings"][20] = table["embeddings"][21]  # equally near to all
    found = hard_negatives(**table, depth=depth, keep=keep)
    similarity = (table["embeddings"].double() @ table["embeddings"].double().T).tolist()
    kind, product, caption = (table[n].tolist() for n in ("kind", "product", "caption"))
    attributes = table["attributes"].tolist()
    expected = []
    counts = dict.fromkeys(found.counts, 0)
    for a in range(60):
        near = sorted(
            (b for b in range(60) if b != a and kind[b] == kind[a] != -1),
            key=lambda b: (-similarity[a][b], b),
        )[:depth]
        kept = 0
        for rank, b in enumerate(near, start=1):
            counts["asked"] += 1
            differs = [
                x != y and -1 not in (x, y)
                for x, y in zip(attributes[a], attributes[b], strict=True)
            ]
            if product[a] == product[b] != -1:
                reason = "same product"
            elif caption[a] == caption[b] != -1:
                reason = "same caption"
            elif not any(differs):
                reason = "no difference"
            elif kept == keep:
                reason = "beyond miner.keep"
            else:
                reason = "kept"
                kept += 1
                expected.append((a, b, rank, differs))
            counts[reason] += 1
    ours = zip(
        found.anchor.tolist(),
        found.negative.tolist(),
        found.rank.tolist(),
        found.differs.tolist(),
        strict=True,
    )
    assert list(ours) == expected
    assert found.counts == counts
    exact = [similarity[a][b] for a, b, *_ in expected]
    assert found.similarity.tolist() == pytest.approx(exact, abs=1e-9)


def test_items_of_unknown_kinds_have_no_hard_negatives() -> None:
    table = random_table(2) | {"kind": torch.full((60,), -1)}
    found = hard_negatives(**table, depth=5, keep=5)
    for part in (found.anchor, found.negative, found.rank, found.similarity):
        assert part.shape == (0,)
    assert found.differs.shape == (0, 2)
    assert set(found.counts.values()) == {0}
