import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.functional.relations import equal_codes, pair_relations, value_relations
from fashret.losses import (
    Circle,
    InfoNCE,
    MultiSimilarity,
    SigLIP,
    SupCon,
    Triplet,
)
from fashret.losses.base import Loss
from fashret.types import Batch, Relations

EVERY = [InfoNCE(), SigLIP(), SupCon(), Triplet(), MultiSimilarity(), Circle()]


def batch() -> Batch:
    """Six items: 0 and 1 are one product, 2 and 3 have one caption, 5 has no caption."""
    return Batch(
        index=torch.arange(6),
        product=torch.tensor([0, 0, 1, 2, -1, -1]),
        caption=torch.tensor([0, 1, 2, 2, 3, -1]),
    )


def embeddings(seed: int = 0, rows: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [
        normalize(torch.randn(rows, 8, generator=generator), dim=1).requires_grad_()
        for _ in range(2)
    ]
    return made[0], made[1]


def test_own_captions_are_positive_and_false_negatives_are_ignored() -> None:
    relations = pair_relations(batch(), batch())
    positive = [(i, i) for i in range(5)]  # item 5 has no caption
    assert relations.positive.nonzero().tolist() == [list(pair) for pair in positive]
    ignored = {(0, 1), (1, 0), (2, 3), (3, 2)}
    for row in range(6):
        for column in range(6):
            expected = row != column and 5 not in (row, column) and (row, column) not in ignored
            assert bool(relations.negative[row, column]) == expected, (row, column)


def test_what_is_unknown_equals_nothing() -> None:
    """Two items of unknown product are no product: each is a wrong answer for the other."""
    unknown = torch.tensor([-1, -1, 2])
    assert equal_codes(unknown, unknown).tolist() == [
        [False, False, False],
        [False, False, False],
        [False, False, True],
    ]
    items = Batch(index=torch.arange(3), product=unknown, caption=torch.arange(3))
    several = pair_relations(items, items, several_positives=True)
    assert torch.equal(several.positive, torch.eye(3, dtype=torch.bool))
    assert torch.equal(several.negative, ~torch.eye(3, dtype=torch.bool))
    values = value_relations(unknown, torch.tensor([-1, 2, 3]))
    assert values.positive.nonzero().tolist() == [[2, 1]]
    assert values.negative.nonzero().tolist() == [[2, 2]]


def test_infonce_equals_a_loop() -> None:
    rows, columns = embeddings()
    relations = pair_relations(batch(), batch())
    similarity = (rows @ columns.T).tolist()

    def direction(get: object, positive: Tensor, negative: Tensor) -> float:
        losses = []
        for i in range(6):
            others = [math.exp(get(i, j) / 0.1) for j in range(6) if negative[i, j]]  # type: ignore[operator]
            if positive[i, i] and others:
                own = math.exp(get(i, i) / 0.1)  # type: ignore[operator]
                losses.append(-math.log(own / (own + sum(others))))
        return sum(losses) / len(losses)

    expected = (
        direction(lambda i, j: similarity[i][j], relations.positive, relations.negative)
        + direction(lambda i, j: similarity[j][i], relations.positive.T, relations.negative.T)
    ) / 2
    value = InfoNCE(temperature=0.1)(rows, columns, relations)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_infonce_without_masks_is_cross_entropy() -> None:
    rows, columns = embeddings(1, 32)
    own = torch.eye(32, dtype=torch.bool)
    logits = rows @ columns.T / 0.07
    labels = torch.arange(32)
    expected = (
        nn.functional.cross_entropy(logits, labels) + nn.functional.cross_entropy(logits.T, labels)
    ) / 2
    value = InfoNCE()(rows, columns, Relations(own, ~own))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_siglip_equals_a_loop() -> None:
    rows, columns = embeddings(2)
    relations = pair_relations(batch(), batch())
    total = 0.0
    for i in range(6):
        for j in range(6):
            logit = 10.0 * float(rows[i] @ columns[j]) - 10.0
            if relations.positive[i, j]:
                total -= math.log(1 / (1 + math.exp(-logit)))
            elif relations.negative[i, j]:
                total -= math.log(1 / (1 + math.exp(logit)))
    assert float(SigLIP()(rows, columns, relations)) == pytest.approx(
        total / 5, rel=1e-5
    )  # item 5 has no pair


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


@pytest.mark.parametrize(
    "loss",
    [InfoNCE(temperature=0.02, max_scale=50.0), SigLIP(scale=50.0, max_scale=50.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_a_scale_at_its_bound_can_leave_it(loss: nn.Module) -> None:
    """Embeddings that agree nowhere want a lower scale, and equal ones a higher one."""
    rows, columns = embeddings()
    own = torch.eye(6, dtype=torch.bool)
    loss(rows, columns, Relations(own, ~own)).backward()
    assert loss.log_scale.grad is not None
    assert float(loss.log_scale.grad) > 0.0  # a step against it makes the scale smaller
    with torch.no_grad():
        loss.log_scale.add_(1.0)
    loss.clamp_scale()
    assert float(loss.scale()) == pytest.approx(50.0)
    with torch.no_grad():
        loss.log_scale.sub_(1.0)
    loss.clamp_scale()
    assert float(loss.temperature) == pytest.approx(math.e / 50.0)


def test_a_scale_that_starts_above_its_bound_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss.temperature=0.001: .* at most loss.max_scale=50"):
        InfoNCE(temperature=0.001, max_scale=50.0)
    with pytest.raises(ConfigError, match=r"loss.scale=200: .* at most loss.max_scale=100"):
        SigLIP(scale=200)
    with pytest.raises(ConfigError, match="must be above 0"):
        InfoNCE(temperature=0.0)
    fixed = InfoNCE(temperature=0.001, learn_temperature=False, max_scale=50.0)
    fixed.clamp_scale()
    assert float(fixed.temperature) == pytest.approx(0.001)  # what does not learn has no bound


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


def test_a_temperature_is_learned_or_kept() -> None:
    for loss in (InfoNCE(temperature=0.05), SupCon(temperature=0.05)):
        assert [name for name, _ in loss.named_parameters()] == ["log_scale"]
        assert float(loss.temperature.detach()) == pytest.approx(0.05)
    kept = SupCon(temperature=0.05, learn_temperature=False)
    assert not list(kept.parameters())
    assert not kept.state_dict()
    assert float(kept.temperature) == pytest.approx(0.05)


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_that_is_not_above_zero_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.scale={scale}: .* which must be above 0"):
        SigLIP(scale=scale)
