"""Composed queries: both composers begin at the plain mean, learn, and come back with a run."""

import pytest
import torch
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.models.composer import Gated, WeightedSum, make_composer
from fashret.models.spec import ModelSpec


def embeddings(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [normalize(torch.randn(5, 8, generator=generator), dim=1) for _ in range(2)]
    return made[0], made[1]


def test_an_untrained_composer_is_the_plain_mean() -> None:
    photos, texts = embeddings()
    expected = normalize(photos + texts, dim=1)
    for composer in (WeightedSum(), Gated(8)):
        assert torch.allclose(composer(photos, texts), expected, atol=1e-6)


def test_the_weights_of_a_sum_are_those_of_photo_and_text() -> None:
    photos, texts = embeddings()
    composer = WeightedSum()
    composer.weights.data = torch.tensor([3.0, 1.0])
    expected = normalize(0.75 * photos + 0.25 * texts, dim=1)
    assert torch.allclose(composer(photos, texts), expected, atol=1e-6)


def test_a_gate_is_between_photo_and_text() -> None:
    photos, texts = embeddings()
    composer = Gated(8)
    composer.gate.bias.data.fill_(50.0)
    assert torch.allclose(composer(photos, texts), texts, atol=1e-5)
    composer.gate.bias.data.fill_(-50.0)
    assert torch.allclose(composer(photos, texts), photos, atol=1e-5)
    composer.residual.bias.data = torch.arange(8.0)
    expected = normalize(photos + torch.arange(8.0), dim=1)
    assert torch.allclose(composer(photos, texts), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["sum", "gated"])
def test_every_weight_of_a_composer_learns(kind: str) -> None:
    photos, texts = embeddings()
    composer = make_composer(kind, 8, blocks=False)
    assert composer is not None
    target = normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(9)), dim=1)
    optimizer = torch.optim.SGD(composer.parameters(), lr=0.5)
    first = None
    for _ in range(20):
        optimizer.zero_grad()
        loss = -(composer(photos, texts) * target).sum()
        first = float(loss) if first is None else first
        loss.backward()
        optimizer.step()
    assert float(loss) < first
    before = make_composer(kind, 8, blocks=False)
    assert before is not None
    for (name, new), old in zip(composer.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(new, old), name


def test_a_seed_makes_the_same_gate_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = Gated(4, seed=1), Gated(4, seed=1), Gated(4, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.hidden.weight, two.hidden.weight)
    assert not torch.equal(one.hidden.weight, other.hidden.weight)


def test_a_composer_beside_attribute_heads_is_refused() -> None:
    for kind in ("sum", "gated"):
        with pytest.raises(ConfigError, match=r"combined with model\.attribute_blocks"):
            make_composer(kind, 8, blocks=True)
        assert make_composer(kind, 8, blocks=False) is not None
    assert make_composer(None, 8, blocks=True) is None


def test_a_composer_alone_is_something_to_train() -> None:
    assert not ModelSpec(heads=False).learns
    assert ModelSpec(heads=False, composer="sum").learns
