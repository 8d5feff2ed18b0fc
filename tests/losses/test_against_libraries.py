"""Losses equal to those of pytorch-metric-learning and open_clip: values and gradients.

Labels decide pairs there: rows and columns of one label are positives, all others negatives. All in
float64, so that what differs is the definition and not the rounding.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn
from torch.nn.functional import normalize

from fashret.losses import Circle, InfoNCE, MultiSimilarity, SigLIP, SupCon, Triplet
from fashret.types import Relations


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """20 rows and 26 columns of 6 labels, not yet normalised; like items lie near one another."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, 10, generator=generator)
    row_labels = torch.arange(20) % 6
    column_labels = torch.arange(26) % 6
    rows = centres[row_labels] + torch.randn(20, 10, generator=generator)
    columns = centres[column_labels] + torch.randn(26, 10, generator=generator)
    return rows.requires_grad_(), columns.requires_grad_(), row_labels, column_labels


def gradients(value: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, of, retain_graph=True))


def whole_batch(loss: nn.Module) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The library's reducer takes the mean over rows."""
    return lambda a, b, of_a, of_b: loss(a, of_a, ref_emb=b, ref_labels=of_b)


def row_by_row(loss: nn.Module) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The library's reducer takes the mean over pairs or triplets: of a row, and then over rows."""
    return lambda a, b, of_a, of_b: torch.stack(
        [
            loss(a[i : i + 1], of_a[i : i + 1], ref_emb=b, ref_labels=of_b.clone())
            for i in range(len(a))
        ]
    ).mean()


@pytest.mark.parametrize(
    ("own", "reference"),
    [
        (SupCon(temperature=0.2, learn_temperature=False), whole_batch(theirs.SupConLoss(0.2))),
        (InfoNCE(temperature=0.2, learn_temperature=False), row_by_row(theirs.NTXentLoss(0.2))),
        (MultiSimilarity(), whole_batch(theirs.MultiSimilarityLoss(alpha=2, beta=40, base=0.3))),
        (
            MultiSimilarity(alpha=3.0, beta=5.0, base=-0.1),
            whole_batch(theirs.MultiSimilarityLoss(alpha=3, beta=5, base=-0.1)),
        ),
        (
            Circle(margin=0.4, scale=8.0),
            whole_batch(theirs.CircleLoss(m=0.4, gamma=8, reducer=MeanReducer())),
        ),
        (
            Triplet(margin=0.3),
            row_by_row(theirs.TripletMarginLoss(margin=0.3, distance=CosineSimilarity())),
        ),
    ],
    ids=["SupCon", "InfoNCE", "MultiSimilarity", "MultiSimilarity-2", "Circle", "Triplet"],
)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_equal_pytorch_metric_learning(
    own: nn.Module, reference: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], seed: int
) -> None:
    rows, columns, row_labels, column_labels = drawn(seed)
    equal = row_labels[:, None] == column_labels
    value = own(normalize(rows, dim=1), normalize(columns, dim=1), Relations(equal, ~equal))
    expected = (
        reference(rows, columns, row_labels, column_labels)
        + reference(columns, rows, column_labels, row_labels)
    ) / 2
    # Triplet counts and sums in float32, whatever it is given. The others are off by the 2e-9 which
    # softplus leaves out above 20: it takes log(1 + exp(x)) for x there.
    close = 1e-5 if isinstance(own, Triplet) else 1e-8
    assert float(value.detach()) > 0.0
    assert float(value) == pytest.approx(float(expected), rel=close)
    for mine, other in zip(
        gradients(value, rows, columns), gradients(expected, rows, columns), strict=True
    ):
        assert float(mine.abs().max()) > 0.0
        assert torch.allclose(mine, other, rtol=close, atol=close * float(other.abs().max()))


@pytest.mark.parametrize(
    "own", [SupCon(temperature=0.2), Circle(scale=8.0)], ids=["SupCon", "Circle"]
)
def test_rows_without_a_positive_count_for_nothing_as_in_pytorch_metric_learning(
    own: nn.Module,
) -> None:
    own = own.double()
    rows, columns, row_labels, column_labels = drawn(4)
    row_labels[[2, 7]] = 90  # no column has it
    column_labels[5] = 91
    equal = row_labels[:, None] == column_labels
    value = own(normalize(rows, dim=1), normalize(columns, dim=1), Relations(equal, ~equal))
    # Their mean is over the rows whose loss is above 0: those that have a positive.
    loss = theirs.SupConLoss(0.2) if isinstance(own, SupCon) else theirs.CircleLoss(0.25, 8)
    expected = (
        loss(rows, row_labels, ref_emb=columns, ref_labels=column_labels)
        + loss(columns, column_labels, ref_emb=rows, ref_labels=row_labels)
    ) / 2
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    (gradient,) = gradients(value, rows)
    assert torch.allclose(gradient, gradients(expected, rows)[0], atol=1e-7)


def test_infonce_and_its_gradients_equal_open_clips_loss() -> None:
    rows, columns, *_ = drawn(5)
    columns = columns[:20]
    own = InfoNCE(temperature=0.05).double()
    relations = Relations(torch.eye(20, dtype=torch.bool), ~torch.eye(20, dtype=torch.bool))
    value = own(normalize(rows, dim=1), normalize(columns, dim=1), relations)
    log_scale = own.log_scale.detach().clone().requires_grad_()
    expected = ClipLoss()(normalize(rows, dim=1), normalize(columns, dim=1), log_scale.exp())
    assert float(value) == pytest.approx(float(expected), rel=1e-10)
    mine = gradients(value, rows, columns, own.log_scale)
    for found, other in zip(mine, gradients(expected, rows, columns, log_scale), strict=True):
        assert float(found.abs().max()) > 0.0
        assert torch.allclose(found, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (3.0, 0.5)])
def test_siglip_and_its_gradients_equal_open_clips_loss(scale: float, bias: float) -> None:
    rows, columns, *_ = drawn(6)
    columns = columns[:20]
    own = SigLIP(scale=scale, bias=bias).double()
    relations = Relations(torch.eye(20, dtype=torch.bool), ~torch.eye(20, dtype=torch.bool))
    value = own(normalize(rows, dim=1), normalize(columns, dim=1), relations)
    log_scale, shift = (
        parameter.detach().clone().requires_grad_() for parameter in (own.log_scale, own.bias)
    )
    assert float(log_scale.exp()) == pytest.approx(scale)
    expected = SigLipLoss()(
        normalize(rows, dim=1), normalize(columns, dim=1), log_scale.exp(), shift
    )
    assert float(value) == pytest.approx(float(expected), rel=1e-10)
    mine = gradients(value, rows, columns, own.log_scale, own.bias)
    for found, other in zip(
        mine, gradients(expected, rows, columns, log_scale, shift), strict=True
    ):
        assert float(found.abs().max()) > 0.0
        assert torch.allclose(found, other, rtol=1e-9, atol=1e-12)
