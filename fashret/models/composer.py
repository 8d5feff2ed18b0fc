"""Composed queries: one embedding of a reference photo and of the words that change it."""

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError


def plain_mean(photos: Tensor, texts: Tensor) -> Tensor:
    """Compose (Q, D) photos and (Q, D) texts as a model without a composer does: (Q, D)."""
    return nn.functional.normalize(photos + texts, dim=-1)


class WeightedSum(nn.Module):
    """The sum of the two embeddings, with two weights that learn: normalize(a photo + b text)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(2))

    def forward(self, photos: Tensor, texts: Tensor) -> Tensor:
        """Compose (Q, D) photos and (Q, D) texts, both L2-normalised: (Q, D), L2-normalised."""
        photo, text = self.weights
        return nn.functional.normalize(photo * photos + text * texts, dim=-1)


class Gated(nn.Module):
    """A gate between the two embeddings, and a residual: both computed from them by a layer.

        h = relu(W [photo; text]);  g = sigmoid(u . h);  normalize(g text + (1 - g) photo + V h)

    as in Combiner (Baldrati et al., Conditioned and Composed Image Retrieval Combining and
    Partially Fine-Tuning CLIP-Based Features, 2022), with one hidden layer in place of their two.
    The gate starts at a half and the residual at zero, so that an untrained one is the plain mean.

    Args:
        dim: dimension D of an embedding.
        seed: seed of the hidden layer's weights.
    """

    def __init__(self, dim: int, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Linear(2 * dim, 2 * dim)
            self.gate = nn.Linear(2 * dim, 1)
            self.residual = nn.Linear(2 * dim, dim)
        for layer in (self.gate, self.residual):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, photos: Tensor, texts: Tensor) -> Tensor:
        """Compose (Q, D) photos and (Q, D) texts, both L2-normalised: (Q, D), L2-normalised."""
        hidden = torch.relu(self.hidden(torch.cat([photos, texts], dim=-1)))
        gate = torch.sigmoid(self.gate(hidden))
        mixed = gate * texts + (1.0 - gate) * photos + self.residual(hidden)
        return nn.functional.normalize(mixed, dim=-1)


def make_composer(kind: str | None, dim: int, *, blocks: bool, seed: int = 0) -> nn.Module | None:
    """Make the composer that a spec names.

    Args:
        kind: `sum`, `gated`, or None for none.
        dim: dimension of an embedding.
        blocks: whether the model has attribute heads.
        seed: seed of the weights.

    Raises:
        ConfigError: a composer of a model with attribute heads.
    """
    if kind is None:
        return None
    if blocks:
        raise ConfigError(
            f"model.composer={kind} composes the general embedding alone: it cannot be combined "
            "with model.attribute_blocks"
        )
    return WeightedSum() if kind == "sum" else Gated(dim, seed=seed)
