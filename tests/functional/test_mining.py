"""Hard negatives: nothing that is known to be right is ever mined as wrong."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional import neighbour_blocks
from fashret.functional.judged import JudgedPairs
from fashret.functional.mining import hard_negatives, query_hard_negatives
from fashret.types import JudgedQueries


def random_table(seed: int) -> dict[str, Tensor]:
    """60 items with few kinds, products, captions and values, many of them unknown."""
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int, *shape: int) -> Tensor:
        return torch.randint(-1, high, shape or (60,), generator=generator)

    return {
        "embeddings": normalize(torch.randn(60, 8, generator=generator), dim=1),
        "category": codes(3),
        "product": codes(15),
        "caption": codes(20),
        "attributes": codes(3, 60, 2),
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_known_positive_is_never_mined_as_a_negative(seed: int) -> None:
    table = random_table(seed)
    found = hard_negatives(**table, depth=12, keep=3)
    assert len(found.anchor) > 0
    category, product, caption = table["category"], table["product"], table["caption"]
    for a, b, differs in zip(
        found.anchor.tolist(), found.negative.tolist(), found.differs.tolist(), strict=True
    ):
        assert a != b
        assert category[a] == category[b] != -1
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
    category, product, caption = (table[n].tolist() for n in ("category", "product", "caption"))
    attributes = table["attributes"].tolist()
    for a in range(60):
        near = sorted(
            (b for b in range(60) if b != a and category[b] == category[a] != -1),
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


@pytest.mark.parametrize(("depth", "keep"), [(1, 1), (5, 2), (12, 3), (100, 100)])
def test_hard_negatives_and_their_counts_equal_a_loop(depth: int, keep: int) -> None:
    table = random_table(7)
    table["embeddings"][20] = table["embeddings"][21]  # equally near to all
    found = hard_negatives(**table, depth=depth, keep=keep)
    similarity = (table["embeddings"].double() @ table["embeddings"].double().T).tolist()
    category, product, caption = (table[n].tolist() for n in ("category", "product", "caption"))
    attributes = table["attributes"].tolist()
    expected = []
    counts = dict.fromkeys(found.counts, 0)
    for a in range(60):
        near = sorted(
            (b for b in range(60) if b != a and category[b] == category[a] != -1),
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
    assert found.similarity.tolist() == pytest.approx(exact, abs=1e-6)


def test_items_of_unknown_kinds_have_no_hard_negatives() -> None:
    table = random_table(2) | {"category": torch.full((60,), -1)}
    found = hard_negatives(**table, depth=5, keep=5)
    for part in (found.anchor, found.negative, found.rank, found.similarity):
        assert part.shape == (0,)
    assert found.differs.shape == (0, 2)
    assert set(found.counts.values()) == {0}


def test_hard_negatives_of_queries_are_within_the_ranks_and_the_margin() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(6, 8, generator=generator), dim=1)
    documents = normalize(torch.randn(40, 8, generator=generator), dim=1)
    rows = torch.arange(40) * 2 + 5  # the rows of the table that are trained on
    listed = {(q, int(rows[i])): 1.0 for q in range(6) for i in (q, q + 10)}
    for q in range(6):
        listed[q, int(rows[20 + q])] = 0.0
    names = sorted(listed)
    judged = JudgedPairs(
        JudgedQueries(
            ["q"] * 6, ["train"] * 6, torch.tensor([q for q, _ in names]),
            torch.tensor([r for _, r in names]),
            torch.tensor([listed[name] for name in names]).double(), torch.ones(6), torch.arange(6),
        )
    )  # fmt: skip
    found = query_hard_negatives(
        queries, documents, judged, rows, skip=3, depth=30, keep=4, margin=0.1
    )
    similarity = queries.double() @ documents.double().T
    for q in range(6):
        order = similarity[q].argsort(descending=True).tolist()
        least = float(similarity[q, [q, q + 10]].mean()) - 0.1
        expected = []
        for rank, document in enumerate(order[:33], start=1):
            grade = listed.get((q, int(rows[document])), -1.0)
            in_window = rank > 3 and float(similarity[q, document]) <= least
            if grade == 0.0 or (grade < 0 and in_window):
                expected.append((rank, document))
        mine = found.anchor == q
        got = list(zip(found.rank[mine].tolist(), found.negative[mine].tolist(), strict=True))
        assert got == expected[:4]
    counts = dict(found.counts)
    assert counts.pop("asked") == sum(counts.values())
    assert counts["kept"] == len(found.anchor) > 0


def test_a_large_category_is_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_blocks, "_PROBED", 4)
    drawn = torch.Generator().manual_seed(3)
    count = 1500
    codes = {
        name: torch.randint(kinds, (count,), generator=drawn)
        for name, kinds in (("category", 2), ("product", 700), ("caption", 900))
    }
    table = codes | {
        "embeddings": normalize(torch.randn(count, 8, generator=drawn), dim=1),
        "attributes": torch.randint(-1, 4, (count, 3), generator=drawn),
    }
    exact = hard_negatives(**table, depth=20, keep=5)
    found = hard_negatives(**table, depth=20, keep=5, exact_up_to=100)
    assert exact.recall == 1.0
    assert 0.5 < found.recall < 1.0
    ours, theirs = (
        {(a, b) for a, b in zip(pairs.anchor.tolist(), pairs.negative.tolist(), strict=True)}
        for pairs in (found, exact)
    )
    assert len(ours & theirs) / len(theirs) > 0.5
    assert bool((table["category"][found.anchor] == table["category"][found.negative]).all())
    assert bool((table["product"][found.anchor] != table["product"][found.negative]).all())
    assert bool(found.differs.any(dim=1).all())
    large = int((table["category"] == 0).sum())  # only one of them is larger than this
    at_most = hard_negatives(**table, depth=20, keep=5, exact_up_to=max(large, count - large) - 1)
    assert found.recall < at_most.recall < 1.0
