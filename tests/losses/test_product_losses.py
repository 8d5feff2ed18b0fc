"""Losses over the prototypes of products, and those of pytorch-metric-learning: equal to theirs."""

import math
from collections.abc import Iterator

import pytest
import torch
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor, nn
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.losses import PML, ArcFace, ProxyAnchor
from fashret.losses.base import prepare_loss
from fashret.losses.product_classes import ProductClasses
from fashret.types import Relations, TrainingItems
from support.batches import catalog

PRODUCT = torch.tensor([7, 2, 7, 2, -1, 4, 4, 9])
"""Products of eight items: 2, 4 and 7 are trained on, one is not known, and 9 is held out."""

TRAINED = torch.arange(7)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def items(*, by_product: bool = True) -> TrainingItems:
    nothing = torch.full((8,), -1)
    return TrainingItems(TRAINED, PRODUCT, nothing, {}, list("abcdefgh"), by_product=by_product)


def photos(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 5, generator=generator)
    return normalize(centres[PRODUCT] + torch.randn(8, 5, generator=generator), dim=1)


def related(product: Tensor) -> Relations:
    equal = product[:, None] == product[None, :]
    diagonal = torch.eye(len(product), dtype=torch.bool)
    known = (product >= 0)[:, None] & (product >= 0)[None, :]
    return Relations(equal & known & ~diagonal, ~equal & known, classes=product)


def prepared(loss: nn.Module) -> nn.Module:
    loss.prepare(items(), catalog(photos(1), photos(1)))  # type: ignore[operator]  # a Module's attribute
    return loss


def test_prototypes_begin_as_the_mean_photo_of_each_product() -> None:
    loss = prepared(ArcFace())
    images = photos(1).float()
    means = [images[[1, 3]], images[[5, 6]], images[[0, 2]]]  # products 2, 4 and 7
    expected = torch.stack([normalize(part.sum(dim=0), dim=0) for part in means])
    assert torch.allclose(loss.prototypes.float(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("own", "library"),
    [
        (
            ArcFace(margin=0.5, scale=10.0),
            theirs.ArcFaceLoss(3, 5, margin=math.degrees(0.5), scale=10.0),
        ),
        (
            ArcFace(margin=2.5, scale=4.0),
            theirs.ArcFaceLoss(3, 5, margin=math.degrees(2.5), scale=4.0),
        ),
        (ArcFace(margin=0.0, scale=20.0), theirs.NormalizedSoftmaxLoss(3, 5, temperature=0.05)),
        (ProxyAnchor(margin=0.1, scale=32.0), theirs.ProxyAnchorLoss(3, 5, margin=0.1, alpha=32)),
        (ProxyAnchor(margin=0.3, scale=5.0), theirs.ProxyAnchorLoss(3, 5, margin=0.3, alpha=5)),
    ],
    ids=["ArcFace", "ArcFace-beyond-pi", "normalised-softmax", "ProxyAnchor", "ProxyAnchor-2"],
)
def test_losses_of_prototypes_equal_the_library_s(own: nn.Module, library: nn.Module) -> None:
    prepared(own.double())
    own.double()
    library.double()
    weights = library.proxies if hasattr(library, "proxies") else library.W
    with torch.no_grad():
        own.prototypes.copy_(torch.randn(3, 5, generator=torch.Generator().manual_seed(3)))
        weights.copy_(own.prototypes if hasattr(library, "proxies") else own.prototypes.T)
    ours, other = (photos(2).requires_grad_() for _ in range(2))
    rows = normalize(ours, dim=1)  # the library does it too, and its gradient shows it
    value = own(rows, rows, related(PRODUCT))
    # Item 4 has no product, and item 7's was held out: neither counts.
    kept, classes = torch.tensor([0, 1, 2, 3, 5, 6]), torch.tensor([2, 0, 2, 0, 1, 1])
    expected = library(other[kept], classes)
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    mine = torch.autograd.grad(value, [ours, own.prototypes])
    its = torch.autograd.grad(expected, [other, weights])
    assert torch.allclose(mine[0], its[0], atol=1e-9)
    assert torch.allclose(mine[1], its[1] if hasattr(library, "proxies") else its[1].T, atol=1e-9)
    assert float(mine[0].abs().sum()) > 0.01


def test_a_batch_of_unknown_products_gives_a_zero_that_depends_on_the_prototypes() -> None:
    by_class = [PML(name="SoftTripleLoss"), PML(name="SubCenterArcFaceLoss")]
    for own in (ArcFace(), ProxyAnchor(), *by_class):
        prepared(own)
        rows = photos().requires_grad_()
        unknown = torch.full((8,), -1)
        value = own(rows, rows, related(unknown))
        assert value.item() == 0.0
        value.backward()
        assert all(p.grad is not None for p in own.parameters())


def test_losses_of_products_ask_for_a_task_of_products() -> None:
    with pytest.raises(ConfigError, match="task=product"):
        ArcFace().prepare(items(by_product=False), catalog(photos(), photos()))
    without = Relations(*(torch.ones(8, 8, dtype=torch.bool),) * 2)
    with pytest.raises(ConfigError, match="task=product"):
        prepared(ArcFace())(photos(), photos(), without)
    one = TrainingItems(torch.tensor([1, 3, 4]), PRODUCT, PRODUCT, {}, [], by_product=True)
    with pytest.raises(ConfigError, match="two known"):
        ProductClasses().prepare(one)


@pytest.mark.parametrize("values", [{"margin": -0.1}, {"margin": 3.2}, {"scale": 0.0}])
def test_arcface_s_values_are_within_their_ranges(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="margin"):
        ArcFace(**values)


@pytest.mark.parametrize("values", [{"margin": -0.1}, {"scale": 0.0}])
def test_proxy_anchor_s_values_are_within_their_ranges(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="margin"):
        ProxyAnchor(**values)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ContrastiveLoss", {"distance": CosineSimilarity(), "pos_margin": 0.9, "neg_margin": 0.2}),
        ("TripletMarginLoss", {"margin": 0.3}),
        ("SupConLoss", {"temperature": 0.2}),
        ("MultiSimilarityLoss", {}),
    ],
)
def test_a_loss_of_pairs_gets_the_pairs_of_the_task(name: str, options: dict[str, object]) -> None:
    ours, other = (photos(4)[TRAINED[:4]].requires_grad_() for _ in range(2))
    labels = PRODUCT[:4]
    rows = normalize(ours, dim=1)
    value = PML(name=name, options=options)(rows, rows, related(labels))
    expected = getattr(theirs, name)(**options)(other, labels)
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    assert value.item() > 0.01
    (mine,), (its,) = (torch.autograd.grad(v, [t]) for v, t in ((value, ours), (expected, other)))
    assert torch.allclose(mine, its, atol=1e-9)


def test_a_loss_of_pairs_takes_rows_and_columns_in_both_directions() -> None:
    rows, columns = photos(5)[:4].requires_grad_(), photos(6)[:5].requires_grad_()
    positive = torch.zeros(4, 5, dtype=torch.bool).fill_diagonal_(True)
    value = PML(name="SupConLoss")(rows, columns, Relations(positive, ~positive))
    library = theirs.SupConLoss()
    labels, others = torch.arange(4), torch.arange(5)
    forth = library(rows, labels, ref_emb=columns, ref_labels=others)
    back = library(columns, others, ref_emb=rows, ref_labels=labels)
    assert value.item() == pytest.approx(((forth + back) / 2).item(), rel=1e-9)


def test_names_and_options_of_the_library_are_checked() -> None:
    with pytest.raises(ConfigError, match="ContrastiveLoss"):
        PML(name="ContrastivLoss")
    with pytest.raises(ConfigError, match=r"loss\.options"):
        PML(name="ContrastiveLoss", options={"margn": 1})


def test_a_loss_that_needs_the_items_is_prepared_and_another_is_left() -> None:
    own = ArcFace()
    prepare_loss(own, items(), catalog(photos(1), photos(1)))
    assert own.prototypes.shape == (3, 5)
    prepare_loss(nn.Identity(), items(), catalog(photos(1), photos(1)))
