"""What holds for every contrastive loss."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from fashret.functional.relations import pair_relations
from fashret.losses import (
    Circle,
    InfoNCE,
    MultiSimilarity,
    SigLIP,
    SupCon,
    Triplet,
)
from fashret.losses.base import Loss
from fashret.types import Relations
from support.batches import batch, embeddings

EVERY = [InfoNCE(), SigLIP(), SupCon(), Triplet(), MultiSimilarity(), Circle()]


def by_hand(loss: nn.Module, positive: list[float], negative: list[float]) -> float:
    """A row's loss from its similarities, as the papers write it."""
    exp, log = math.exp, math.log
    if isinstance(loss, SupCon):
        whole = sum(exp(s / 0.1) for s in positive + negative)
        return -sum(log(exp(s / 0.1) / whole) for s in positive) / len(positive)
    if isinstance(loss, Triplet):
        gaps = [0.5 + n - p for p in positive for n in negative if 0.5 + n - p > 0]
        return sum(gaps) / len(gaps) if gaps else 0.0
    if isinstance(loss, MultiSimilarity):
        pull = log(1 + sum(exp(-2.0 * (s - 0.3)) for s in positive)) / 2.0
        return pull + log(1 + sum(exp(40.0 * (s - 0.3)) for s in negative)) / 40.0
    push = sum(exp(8.0 * max(0.0, s + 0.25) * (s - 0.25)) for s in negative)
    pull = sum(exp(-8.0 * max(0.0, 1.25 - s) * (s - 0.75)) for s in positive)
    return log(1 + push * pull)


@pytest.mark.parametrize(
    "loss",
    [SupCon(temperature=0.1), Triplet(margin=0.5), MultiSimilarity(), Circle(scale=8.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_several_positives_equal_a_loop(loss: nn.Module) -> None:
    rows, columns = embeddings(3)
    relations = pair_relations(batch(), batch(), several_positives=True)
    assert relations.positive[0].tolist() == [True, True, False, False, False, False]
    means = []
    for s, positive, negative in (
        (rows @ columns.T, relations.positive, relations.negative),
        (columns @ rows.T, relations.positive.T, relations.negative.T),
    ):
        values = [
            by_hand(loss, s[i][positive[i]].tolist(), s[i][negative[i]].tolist())
            for i in range(6)
            if positive[i].any() and negative[i].any()
        ]
        assert len(values) == 5
        means.append(sum(values) / len(values))
    assert float(loss(rows, columns, relations)) == pytest.approx(sum(means) / 2, rel=1e-5)


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: type(loss).__name__)
def test_no_valid_pair_gives_a_differentiable_zero(loss: Loss) -> None:
    rows, columns = embeddings()
    none = torch.zeros(6, 6, dtype=torch.bool)
    value = loss(rows, columns, Relations(none, none))
    value.backward()
    assert float(value) == 0.0
    assert rows.grad is not None
    assert bool(rows.grad.eq(0).all())


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: type(loss).__name__)
def test_ignored_pairs_have_no_gradient(loss: Loss) -> None:
    rows, columns = embeddings()
    only = torch.zeros(6, 6, dtype=torch.bool)
    only[0, 0] = True
    negative = torch.zeros_like(only)
    negative[0, 1] = negative[1, 0] = True
    loss(rows, columns, Relations(only, negative)).backward()
    assert rows.grad is not None
    assert bool(rows.grad[2:].eq(0).all())
    assert bool(rows.grad.isfinite().all())
    assert bool(rows.grad[0].ne(0).any())


@pytest.mark.parametrize(
    "loss", [InfoNCE(), SupCon(), SigLIP()], ids=lambda loss: type(loss).__name__
)
def test_the_zero_of_no_valid_pair_depends_on_every_parameter(loss: nn.Module) -> None:
    """Otherwise DistributedDataParallel ends a run: it waits for the gradients it lacks."""
    rows, columns = embeddings()
    none = torch.zeros(6, 6, dtype=torch.bool)
    loss(rows, columns, Relations(none, none)).backward()
    parameters = dict(loss.named_parameters())
    assert parameters
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert float(parameter.grad) == 0.0
        parameter.grad = None


def random_relations(seed: int) -> Relations:
    """7 rows and 9 columns: some have both kinds of pairs, some one kind, and some none."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 3, (7, 9), generator=generator)  # positive, negative, neither
    kind[1] = 2
    kind[2][kind[2] == 1] = 2  # nothing is wrong for row 2
    kind[3][kind[3] == 0] = 2  # nothing is right for row 3
    kind[:, 4][kind[:, 4] == 1] = 2
    return Relations(kind == 0, kind == 1)


def infonce_by_hand(positive: list[float], negative: list[float]) -> float:
    others = sum(math.exp(s / 0.1) for s in negative)
    return -sum(math.log(math.exp(s / 0.1) / (math.exp(s / 0.1) + others)) for s in positive) / len(
        positive
    )


@pytest.mark.parametrize(
    "loss",
    [
        InfoNCE(temperature=0.1),
        SupCon(temperature=0.1),
        Triplet(margin=0.5),
        MultiSimilarity(),
        Circle(scale=8.0),
    ],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("seed", range(4))
def test_only_rows_with_a_right_and_a_wrong_answer_count(loss: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed + 50)
    rows = normalize(torch.randn(7, 5, generator=generator), dim=1).requires_grad_()
    columns = normalize(torch.randn(9, 5, generator=generator), dim=1)
    relations = random_relations(seed)
    similarity = rows.detach() @ columns.T
    means, skipped = [], 0
    for s, positive, negative in (
        (similarity, relations.positive, relations.negative),
        (similarity.T, relations.positive.T, relations.negative.T),
    ):
        values = []
        for i in range(len(s)):
            right, wrong = s[i][positive[i]].tolist(), s[i][negative[i]].tolist()
            if right and wrong:
                infonce = isinstance(loss, InfoNCE)
                values.append(
                    infonce_by_hand(right, wrong) if infonce else by_hand(loss, right, wrong)
                )
            else:
                skipped += 1
        means.append(sum(values) / len(values))
    assert skipped >= 4
    value = loss(rows, columns, relations)
    assert float(value.detach()) == pytest.approx(sum(means) / 2, rel=1e-4)
    value.backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())
    assert not rows.grad[1].any()


@pytest.mark.parametrize(
    "loss",
    [InfoNCE(temperature=0.1), SupCon(temperature=0.1), Triplet(margin=0.5), MultiSimilarity()],
    ids=lambda loss: type(loss).__name__,
)
def test_a_direction_without_a_whole_row_is_left_out_of_the_mean(loss: nn.Module) -> None:
    # Row 0 has a right and a wrong answer; no column has both.
    rows, columns = embeddings(9, rows=2)
    positive = torch.tensor([[True, False], [False, False]])
    negative = torch.tensor([[False, True], [False, False]])
    s = [[float(value) for value in line] for line in (rows @ columns.T).detach()]
    infonce = isinstance(loss, InfoNCE)
    expected = (infonce_by_hand if infonce else lambda p, n: by_hand(loss, p, n))(
        [s[0][0]], [s[0][1]]
    )
    assert float(loss(rows, columns, Relations(positive, negative)).detach()) == pytest.approx(
        expected, rel=1e-5
    )


def test_pairs_that_are_right_beyond_the_margin_give_triplets_no_loss() -> None:
    rows = torch.eye(2).requires_grad_()
    own = torch.eye(2, dtype=torch.bool)
    for margin, expected in ((0.9, 0.0), (1.0, 0.0), (1.25, 0.25)):
        value = Triplet(margin=margin)(rows, torch.eye(2), Relations(own, ~own))
        assert float(value.detach()) == pytest.approx(expected)


def test_the_losses_for_products_with_several_photos_say_so() -> None:
    asked = {type(loss).__name__: getattr(loss, "several_positives", False) for loss in EVERY}
    assert asked == {
        "InfoNCE": False,
        "SigLIP": False,
        "SupCon": True,
        "Triplet": True,
        "MultiSimilarity": True,
        "Circle": True,
    }
