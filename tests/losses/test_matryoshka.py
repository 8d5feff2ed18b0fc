"""Matryoshka training: a loss at several widths."""

from operator import mul

import pytest
import torch

from fashret.errors import ConfigError
from fashret.losses import ArcFace, InfoNCE, Matryoshka, SupCon
from fashret.types import Relations


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Relations]:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (
        torch.nn.functional.normalize(
            torch.randn(6, 8, generator=generator, dtype=torch.float64), dim=1
        )
        for _ in "ab"
    )
    positive = torch.eye(6, dtype=torch.bool)
    return rows, columns, Relations(positive=positive, negative=~positive)


def test_it_is_the_mean_of_the_loss_over_widths() -> None:
    rows, columns, relations = batch()
    loss = Matryoshka(loss=InfoNCE(temperature=0.1).double(), widths=[2, 5])
    expected = 0.0
    for width in (2, 5, 8):
        # InfoNCE by hand, in both directions, over vectors cut to `width` numbers.
        cut = [
            [[x / sum(y * y for y in row[:width]) ** 0.5 for x in row[:width]] for row in part]
            for part in (rows.tolist(), columns.tolist())
        ]
        inner = [[sum(map(mul, row, column)) / 0.1 for column in cut[1]] for row in cut[0]]
        logits = torch.tensor(inner, dtype=torch.float64)
        for scores in (logits, logits.T):
            own = scores.diagonal()
            expected += float((scores.logsumexp(dim=1) - own).mean()) / 2
    found = float(loss(rows, columns, relations).detach())
    assert found == pytest.approx(expected / 3, rel=1e-6)  # the scale is stored in float32


def test_the_first_columns_learn_more_than_the_last() -> None:
    """Those within every width have the gradients of all of them."""
    rows, columns, relations = batch(1)
    loss = Matryoshka(loss=InfoNCE(temperature=0.1, learn_temperature=False).double(), widths=[2])
    rows.requires_grad_(True)
    loss(rows, columns, relations).backward()
    whole = rows.grad.clone()
    rows.grad = None
    (loss.loss(rows, columns, relations) / 2).backward()
    alone = rows.grad
    assert torch.allclose(whole[:, 2:], alone[:, 2:])
    assert not torch.allclose(whole[:, :2], alone[:, :2])


def test_it_is_used_as_the_loss_that_it_wraps() -> None:
    assert Matryoshka(loss=SupCon(), widths=[2]).several_positives == SupCon().several_positives
    inner = InfoNCE(temperature=0.2)
    wrapped = Matryoshka(loss=inner, widths=[2])
    assert float(wrapped.temperature) == pytest.approx(0.2)
    assert [name for name, _ in wrapped.named_parameters()] == ["loss.log_scale"]


@pytest.mark.parametrize("widths", [[], [0], [4, 4], [-2]])
def test_wrong_widths_are_refused(widths: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"must be different numbers of at least 1"):
        Matryoshka(loss=InfoNCE(), widths=widths)


def test_a_width_must_be_below_the_dimension() -> None:
    loss = Matryoshka(loss=InfoNCE(), widths=[4, 8])
    loss.check_dim(9)
    with pytest.raises(ConfigError, match=r"\[4, 8\]: must be below the dimension .*, 8"):
        loss.check_dim(8)


def test_a_loss_with_weights_of_the_whole_embedding_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss.loss=ArcFace learns weights of the whole"):
        Matryoshka(loss=ArcFace(), widths=[2])
