"""Attention pooling whose projection is a head's."""

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from fashret.models.heads import Projection


class AttentionPool(nn.Module):
    """The pooling of CLIP's ResNets without the linear map that ends it.

    Equal to open_clip's up to rounding; it computes the one token that is used, not all of them.
    Parameters keep open_clip's names.
    """

    def __init__(self, pool: AttentionPool2d) -> None:
        super().__init__()
        self.positional_embedding = pool.positional_embedding
        self.q_proj = pool.q_proj
        self.k_proj = pool.k_proj
        self.v_proj = pool.v_proj
        self.num_heads = pool.num_heads

    @classmethod
    def cut(cls, pool: AttentionPool2d) -> tuple["AttentionPool", Projection]:
        """The pooling, and the map that was cut off it."""
        return cls(pool), Projection.of(pool.c_proj)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, F, H, W) feature maps -> (B, F) features."""
        tokens = maps.flatten(2).transpose(1, 2)
        mean = tokens.mean(dim=1, keepdim=True)
        tokens = torch.cat([mean, tokens], dim=1) + self.positional_embedding
        pooled = nn.functional.scaled_dot_product_attention(
            self._heads(self.q_proj(tokens[:, :1])),
            self._heads(self.k_proj(tokens)),
            self._heads(self.v_proj(tokens)),
        )
        return pooled.transpose(1, 2).flatten(1)

    def _heads(self, tokens: Tensor) -> Tensor:
        """(B, L, F) -> (B, heads, L, F / heads)."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
