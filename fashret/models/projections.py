"""Removal of a tower's last linear projection, which a trainable head replaces."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from fashret.models.heads import Projection


@dataclass(frozen=True)
class Cut:
    """A projection that was removed from a tower.

    Attributes:
        projection: the removed weights.
        put_back: puts a linear layer into the tower in place of the removed projection.
    """

    projection: Projection
    put_back: Callable[[nn.Linear], None]


def cut_image_projection(visual: Any) -> Cut | None:
    """Remove the last linear map of an image tower; None if the tower does not end in one."""
    if isinstance(getattr(visual, "proj", None), Tensor):  # open_clip's own ViT, CoCa's too
        return _cut_matrix(visual, "proj")
    if isinstance(getattr(visual, "attnpool", None), AttentionPool2d):  # open_clip's ResNet
        return _cut_attention_pool(visual)
    head = getattr(visual, "head", None)  # a timm trunk and open_clip's head on it
    if head is not None and isinstance(getattr(head, "proj", None), nn.Linear):
        return _cut_module(head, head.proj)
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and not head and isinstance(trunk.get_classifier(), nn.Linear):
        return _cut_module(trunk, trunk.get_classifier())
    return None


def cut_text_projection(clip: Any) -> Cut | None:
    """Remove the last linear map of the text tower; None if the tower does not end in one."""
    tower = getattr(clip, "text", clip)
    proj = getattr(tower, "text_projection", None)
    if isinstance(proj, Tensor):
        return _cut_matrix(tower, "text_projection")
    if isinstance(proj, nn.Linear):
        tower.text_projection = None
        return Cut(Projection.from_linear(proj), partial(setattr, tower, "text_projection"))
    if isinstance(getattr(tower, "proj", None), nn.Linear):  # a tower of transformers
        return _cut_module(tower, tower.proj)
    return None


def _cut_matrix(tower: Any, name: str) -> Cut:
    """Remove a matrix that is applied from the right: features @ matrix."""
    matrix = getattr(tower, name)
    setattr(tower, name, None)
    return Cut(Projection(matrix.detach().T.clone(), None), partial(_set_matrix, tower, name))


def _set_matrix(tower: Any, name: str, head: nn.Linear) -> None:
    setattr(tower, name, nn.Parameter(head.weight.detach().T.clone()))


def _cut_module(parent: nn.Module, linear: nn.Linear) -> Cut:
    """Replace a linear layer somewhere in a module by an identity."""
    name = next(name for name, module in parent.named_modules() if module is linear)
    path, _, leaf = name.rpartition(".")
    owner = parent.get_submodule(path)
    setattr(owner, leaf, nn.Identity())
    return Cut(Projection.from_linear(linear), partial(setattr, owner, leaf))


def _cut_attention_pool(visual: Any) -> Cut:
    """Remove the linear map at the end of attention pooling."""
    pool = visual.attnpool
    visual.attnpool = AttentionPool(pool)
    return Cut(Projection.from_linear(pool.c_proj), partial(_set_attention_pool, visual, pool))


def _set_attention_pool(visual: Any, pool: AttentionPool2d, head: nn.Linear) -> None:
    pool.c_proj = head
    visual.attnpool = pool


class AttentionPool(nn.Module):
    """The attention pooling of CLIP's ResNets without its final linear map.

    The result equals open_clip's up to rounding; only the token that is used is computed, not all
    of them. Parameters keep open_clip's names.

    Args:
        pool: open_clip's pooling layer, whose parameters are shared.
    """

    def __init__(self, pool: AttentionPool2d) -> None:
        super().__init__()
        self.positional_embedding = pool.positional_embedding
        self.q_proj = pool.q_proj
        self.k_proj = pool.k_proj
        self.v_proj = pool.v_proj
        self.num_heads = pool.num_heads

    def forward(self, maps: Tensor) -> Tensor:
        """Pool (B, F, H, W) feature maps to (B, F) features."""
        tokens = maps.flatten(2).transpose(1, 2)
        mean = tokens.mean(dim=1, keepdim=True)
        tokens = torch.cat([mean, tokens], dim=1) + self.positional_embedding
        pooled: Tensor = nn.functional.scaled_dot_product_attention(
            self._heads(self.q_proj(tokens[:, :1])),
            self._heads(self.k_proj(tokens)),
            self._heads(self.v_proj(tokens)),
        )
        return pooled.transpose(1, 2).flatten(1)

    def _heads(self, tokens: Tensor) -> Tensor:
        """Split (B, L, F) tokens into attention heads: (B, heads, L, F / heads)."""
        heads: Tensor = tokens.unflatten(2, (self.num_heads, -1))
        return heads.transpose(1, 2)
