"""Nearest neighbours among very many embeddings: exact, within the blocks that are near.

The embeddings are cut into about sqrt(N) blocks by k-means (an inverted file: Sivic and Zisserman,
2003). The neighbours of a block's items are looked for in the blocks nearest to it, all at once:
a matrix product for each block, in place of one of N x N.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.topk import topk

_PROBED = 32
"""Blocks that are looked at for the items of one block."""

_EXAMPLES, _ROUNDS = 64, 8
"""Embeddings that each centre is learned from, and rounds of k-means."""

_MEASURED = 500
"""Items whose neighbours are found exactly too, to measure the recall."""

_CHUNK = 65_536


class Neighbours(NamedTuple):
    """The k nearest of N embeddings for each of them, itself among them.

    Attributes:
        rows: (N, k) long rows, nearest first; -1 where fewer are found.
        scores: (N, k) float64 inner products.
        recall: share of the exact k nearest that are found, measured on a sample; 1 if exact.
    """

    rows: Tensor
    scores: Tensor
    recall: float


def neighbours(embeddings: Tensor, k: int, *, exact_up_to: int | None = None) -> Neighbours:
    """Find the k nearest embeddings of each.

    Args:
        embeddings: (N, D) float, L2-normalised.
        k: number of neighbours, itself counted; at most N.
        exact_up_to: the largest N whose pairs are all compared; None for any.
    """
    if exact_up_to is None or len(embeddings) <= exact_up_to:
        exact = topk(embeddings, embeddings, k, scored=0)
        return Neighbours(exact.rows, exact.scores, 1.0)
    return _in_blocks(embeddings, k)


def _in_blocks(embeddings: Tensor, k: int) -> Neighbours:
    count = len(embeddings)
    rng = torch.Generator().manual_seed(0)
    centres = _centres(embeddings, round(count**0.5), rng)
    block = torch.cat(
        [topk(part.float(), centres, 1, scored=0).rows[:, 0] for part in embeddings.split(_CHUNK)]
    )
    members = block.argsort(stable=True).split(block.bincount(minlength=len(centres)).tolist())
    probed = topk(centres, centres, min(_PROBED, len(centres)), scored=0).rows
    rows = torch.full((count, k), -1)
    scores = torch.full((count, k), -torch.inf, dtype=torch.float64)
    for own, near in zip(members, probed, strict=True):
        if len(own):
            among = torch.cat([members[place] for place in near.tolist()]).sort().values
            found = topk(embeddings[own], embeddings[among], min(k, len(among)), scored=0)
            width = found.rows.shape[1]
            rows[own, :width] = among[found.rows]
            scores[own, :width] = found.scores
    sample = torch.randperm(count, generator=rng)[:_MEASURED]
    exact = topk(embeddings[sample], embeddings, k, scored=0).rows
    same = (rows[sample][:, :, None] == exact[:, None, :]).any(dim=1)
    return Neighbours(rows, scores, float(same.double().mean()))


def _centres(embeddings: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Learn the centres of `count` blocks by spherical k-means on a sample."""
    chosen = torch.randperm(len(embeddings), generator=rng)[: count * _EXAMPLES]
    examples = embeddings[chosen.sort().values].float()
    centres = examples[torch.randperm(len(examples), generator=rng)[:count]]
    for _ in range(_ROUNDS):
        nearest = topk(examples, centres, 1, scored=0).rows[:, 0]
        sums = torch.zeros_like(centres).index_add_(0, nearest, examples)
        is_used = nearest.bincount(minlength=count) > 0
        centres = torch.where(is_used[:, None], normalize(sums, dim=1), centres)
    return centres
