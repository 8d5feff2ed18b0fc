"""The choices of the online miners, against pytorch-metric-learning's and against loops."""

import math

import pytest
import torch
from pytorch_metric_learning import miners as theirs
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils import loss_and_miner_utils
from torch import Tensor
from torch.nn.functional import normalize

from fashret.miners import (
    DistanceWeightedMiner,
    MultiSimilarityMiner,
    NoMiner,
    SemiHardMiner,
)
from fashret.miners.base import Miner
from fashret.miners.online import OnlineMiner
from fashret.types import Relations

ONLINE = [NoMiner(), SemiHardMiner(), MultiSimilarityMiner(), DistanceWeightedMiner(keep=3)]


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


Pairs = set[tuple[int, int]]


def pairs(mask: Tensor) -> Pairs:
    return {(i, j) for i, j in mask.nonzero().tolist()}


def drawn(seed: int, rows: int = 24, columns: int = 31) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows and columns of 7 labels, of which a row has one that no column has."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(7, 8, generator=generator)
    row_labels = torch.randint(0, 7, (rows,), generator=generator)
    column_labels = torch.randint(0, 7, (columns,), generator=generator)
    a = normalize(centres[row_labels] + 1.5 * torch.randn(rows, 8, generator=generator), dim=1)
    b = normalize(
        centres[column_labels] + 1.5 * torch.randn(columns, 8, generator=generator), dim=1
    )
    row_labels[3] = 50
    return a, b, row_labels, column_labels


def of_rows(miner: OnlineMiner, a: Tensor, b: Tensor, relations: Relations) -> Relations:
    return miner.of_rows(a @ b.T, relations, dim=a.shape[1])


@pytest.mark.parametrize("margin", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity_mining_chooses_what_pytorch_metric_learning_does(
    seed: int, margin: float
) -> None:
    a, b, of_a, of_b = drawn(seed)
    equal = of_a[:, None] == of_b
    relations = Relations(equal, ~equal)
    reference = theirs.MultiSimilarityMiner(epsilon=margin)
    rows, right, others, wrong = (part.tolist() for part in reference(a, of_a, b, of_b))
    positive, negative = set(zip(rows, right, strict=True)), set(zip(others, wrong, strict=True))
    assert 0 < len(positive) <= int(equal.sum()) - (margin == 0.05)
    assert 0 < len(negative) < int((~equal).sum())
    found = of_rows(MultiSimilarityMiner(margin=margin), a, b, relations)
    assert pairs(found.positive) == positive
    assert pairs(found.negative) == negative
    # A batch is narrowed for its rows and for its columns, and what either keeps is kept.
    columns, right, others, wrong = (part.tolist() for part in reference(b, of_b, a, of_a))
    both = MultiSimilarityMiner(margin=margin).select(a, b, relations)
    assert pairs(both.positive) == positive | set(zip(right, columns, strict=True))
    assert pairs(both.negative) == negative | set(zip(wrong, others, strict=True))


def test_multi_similarity_mining_of_similarities_at_their_bounds() -> None:
    # Row 0: the positive lies opposite, the negative is the row itself: both are hard. Row 1 the
    # other way round: neither is, with a margin of 0.1.
    similarity = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    positive = torch.tensor([[True, False], [True, False]])
    found = MultiSimilarityMiner(margin=0.1).of_rows(
        similarity, Relations(positive, ~positive), dim=4
    )
    assert pairs(found.positive) == {(0, 0)}
    assert pairs(found.negative) == {(0, 1)}


def test_multi_similarity_mining_ignores_pairs_of_neither_kind() -> None:
    # 0.875 and 0.125 are neither: the farthest positive is 0.5, the nearest negative 0.625. The
    # margin is 0.25, exact in binary.
    similarity = torch.tensor([[0.875, 0.5, 0.75, 0.875, 0.625, 0.25, 0.375, 0.125]])
    positive = torch.tensor([[False, True, True, True, False, False, False, False]])
    negative = torch.tensor([[False, False, False, False, True, True, True, False]])
    found = MultiSimilarityMiner(margin=0.25).of_rows(
        similarity, Relations(positive, negative), dim=4
    )
    assert pairs(found.positive) == {(0, 1), (0, 2)}  # 0.875 is just 0.25 above 0.625
    assert pairs(found.negative) == {(0, 4), (0, 6)}  # 0.25 is just 0.25 below 0.5


def nearest_positive_only(a: Tensor, b: Tensor, equal: Tensor) -> Tensor:
    """(B, M): the nearest positive of each row."""
    nearest = (a @ b.T).masked_fill(~equal, -torch.inf).argmax(dim=1)
    return torch.zeros_like(equal).scatter(1, nearest[:, None], True) & equal


@pytest.mark.parametrize("margin", [0.1, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_semi_hard_negatives_are_those_of_pytorch_metric_learning(seed: int, margin: float) -> None:
    a, b, of_a, of_b = drawn(seed)
    equal = of_a[:, None] == of_b
    reference = theirs.TripletMarginMiner(
        margin=margin, type_of_triplets="semihard", distance=CosineSimilarity()
    )
    # Theirs compares with every positive of a row, ours with the nearest.
    nearest = pairs(nearest_positive_only(a, b, equal))
    triplets = zip(*(part.tolist() for part in reference(a, of_a, b, of_b)), strict=True)
    expected = {(row, wrong) for row, right, wrong in triplets if (row, right) in nearest}
    rows = {row for row, _ in expected}
    assert 5 < len(rows) < 24
    found = of_rows(SemiHardMiner(margin=margin), a, b, Relations(equal, ~equal))
    assert {pair for pair in pairs(found.negative) if pair[0] in rows} == expected
    assert torch.equal(found.positive, equal)
    # A row that has no semi-hard negative keeps one: the nearest that is farther, or of all.
    similarity = (a @ b.T).tolist()
    for row in set(range(24)) - rows:
        wrong = [j for j in range(31) if not equal[row, j]]
        right = [similarity[row][j] for j in range(31) if equal[row, j]]
        farther = [j for j in wrong if right and similarity[row][j] < max(right)]
        one = max(farther or wrong, key=lambda j: similarity[row][j])
        assert [j for i, j in pairs(found.negative) if i == row] == [one]


def test_semi_hard_mining_at_the_bounds_of_its_margin() -> None:
    # The positives are 0.5 and 0.25; a margin of 0.25, exact in binary.
    similarity = torch.tensor(
        [
            [0.5, 0.25, 0.5, 0.375, 0.25],  # as near as the positive, within, just at the margin
            [0.5, 0.25, 0.75, 0.125, -0.5],  # too near, and two too far: the nearer of those
            [0.5, 0.25, 0.75, 0.625, 0.5],  # none is farther: the nearest
            [0.5, 0.25, -1.0, -1.0, -1.0],  # opposite, and equally near: all of them
        ]
    )
    positive = torch.tensor([[True, True, False, False, False]]).expand(4, 5)
    found = SemiHardMiner(margin=0.25).of_rows(similarity, Relations(positive, ~positive), dim=4)
    assert found.negative.tolist() == [
        [False, False, False, True, False],
        [False, False, False, True, False],
        [False, False, True, False, False],
        [False, False, True, True, True],
    ]


def test_semi_hard_mining_of_a_row_without_a_positive_keeps_its_nearest_negative() -> None:
    similarity = torch.tensor([[0.9, -0.2, 0.3], [0.1, 0.2, 0.3]])
    none = torch.zeros(2, 3, dtype=torch.bool)
    negative = torch.tensor([[False, True, True], [False, False, False]])
    found = SemiHardMiner().of_rows(similarity, Relations(none, negative), dim=4)
    assert found.negative.tolist() == [[False, False, True], [False, False, False]]


@pytest.mark.parametrize(
    "miner",
    [SemiHardMiner(), MultiSimilarityMiner(), DistanceWeightedMiner(keep=2)],
    ids=lambda miner: type(miner).__name__,
)
def test_a_pair_is_kept_that_its_row_or_its_column_wants(miner: OnlineMiner) -> None:
    a, b, of_a, of_b = drawn(9)
    equal = of_a[:, None] == of_b
    found = miner.select(a, b, Relations(equal, ~equal))
    rows = of_rows(miner, a, b, Relations(equal, ~equal))
    columns = of_rows(miner, b, a, Relations(equal.T, ~equal.T))
    assert pairs(rows.negative) != pairs(columns.negative.T)
    assert pairs(found.negative) == pairs(rows.negative) | pairs(columns.negative.T)
    assert pairs(found.positive) == pairs(rows.positive) | pairs(columns.positive.T)


def library_weights(
    monkeypatch: pytest.MonkeyPatch, query: Tensor, others: Tensor, cutoff: float
) -> Tensor:
    """The probabilities with which pytorch-metric-learning draws each of `others`, (M,)."""
    seen: list[Tensor] = []

    def remember(labels: Tensor, ref_labels: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        seen.append(weights)
        return loss_and_miner_utils.get_all_triplets_indices(labels, ref_labels)

    monkeypatch.setattr(loss_and_miner_utils, "get_random_triplet_indices", remember)
    miner = theirs.DistanceWeightedMiner(cutoff=cutoff, nonzero_loss_cutoff=9.0)
    miner(query, torch.tensor([0]), others, torch.arange(1, len(others) + 1))
    return seen[0][0]


@pytest.mark.parametrize(
    ("dim", "cutoff", "widest"),
    [(4, 0.5, 120.0), (4, 0.5, 155.0), (6, 0.9, 120.0), (9, 0.3, 120.0)],
)
def test_negatives_are_drawn_with_the_weights_of_pytorch_metric_learning(
    monkeypatch: pytest.MonkeyPatch, dim: int, cutoff: float, widest: float
) -> None:
    # A query and six others at angles of 5 to 120 or 155 degrees: distances of 0.09 to 1.95.
    angles = torch.tensor([5.0, 20.0, 50.0, 70.0, 90.0, widest]).deg2rad()
    others = torch.zeros(6, dim)
    others[:, 0], others[:, 1] = angles.cos(), angles.sin()
    query = torch.eye(dim)[:1]
    weights = library_weights(monkeypatch, query, others, cutoff)
    draws = 20_000
    similarity = (query @ others.T).expand(draws, -1)
    relations = Relations(torch.zeros(draws, 6).bool(), torch.ones(draws, 6).bool())
    miner = DistanceWeightedMiner(keep=1, cutoff=cutoff)
    found = miner.of_rows(similarity, relations, dim=dim).negative
    assert found.sum(dim=1).eq(1).all()
    share = found.double().mean(dim=0)
    error = 5 * (weights * (1 - weights) / draws).sqrt()  # five standard errors
    assert bool(((share - weights).abs() <= error).all()), (share, weights)
    assert float(weights.max()) < 0.95  # there is something to compare


def test_as_many_different_negatives_are_drawn_as_asked_and_no_more_than_there_are() -> None:
    a, b, of_a, of_b = drawn(11)
    equal = of_a[:, None] == of_b
    for keep, wanted in ((1, 1), (4, 4), (31, None), (100, None)):
        found = of_rows(DistanceWeightedMiner(keep=keep), a, b, Relations(equal, ~equal))
        assert torch.equal(found.positive, equal)
        expected = [int(n) if wanted is None else wanted for n in (~equal).sum(dim=1)]
        assert found.negative.sum(dim=1).tolist() == expected


def test_other_batches_draw_others_and_the_same_batch_the_same() -> None:
    """The draw follows from the similarities, also where they are a little different."""
    relations = Relations(torch.zeros(8, 64).bool(), torch.ones(8, 64).bool())
    miner = DistanceWeightedMiner(keep=8)
    same = torch.zeros(8, 64)
    first = miner.of_rows(same, relations, dim=8).negative
    assert torch.equal(first, miner.of_rows(same.clone(), relations, dim=8).negative)
    for shift in (1e-5, 0.2):
        other = miner.of_rows(same + shift, relations, dim=8).negative
        assert not torch.equal(first, other)


def test_drawing_from_collapsed_opposite_or_broken_embeddings_does_not_fail() -> None:
    negative = torch.tensor([[False, True, True, True], [True, False, True, True]])
    relations = Relations(~negative, negative)
    for value in (1.0 + 1e-6, -1.0 - 1e-6, math.nan):
        found = DistanceWeightedMiner(keep=2).of_rows(torch.full((2, 4), value), relations, dim=8)
        assert not (found.negative & ~negative).any()
        if not math.isnan(value):
            assert found.negative.sum(dim=1).tolist() == [2, 2]


def test_no_mining_leaves_everything_as_it_is() -> None:
    a, b, of_a, of_b = drawn(12)
    relations = Relations(of_a[:, None] == of_b, of_a[:, None] != of_b)
    miner = NoMiner()
    assert miner.select(a, b, relations) is relations
    batches: object = object()
    assert miner.compose(batches, seed=0) is batches  # type: ignore[arg-type, comparison-overlap]
