"""Hard negatives: near in the embedding, of the same kind, and known to be something else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.functional.topk import topk
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class HardPairs:
    """Anchors and their hard negatives, P pairs in the order of anchor and rank.

    Attributes:
        anchor: (P,) long: a row.
        negative: (P,) long: a row.
        rank: (P,) long: the negative's place among the anchor's nearest of its kind, from 1.
        similarity: (P,) float64: their inner product.
        differs: (P, A) bool: the attributes that are known of both and differ.
        counts: what became of the candidates: asked, kept, and dropped by reason.
    """

    anchor: Tensor
    negative: Tensor
    rank: Tensor
    similarity: Tensor
    differs: Tensor
    counts: dict[str, int]


def hard_negatives(
    embeddings: Tensor,
    kind: Tensor,
    product: Tensor,
    caption: Tensor,
    attributes: Tensor,
    *,
    depth: int,
    keep: int,
) -> HardPairs:
    """The nearest items of the same kind that differ in a known attribute.

    Items of one product and items of one caption are never taken for negatives, and neither is one
    that may be alike in all that is known. Memory is a chunk of anchors, never N x N.

    Args:
        embeddings: (N, D), L2-normalised.
        kind: (N,) long codes; an item of an unknown kind has no hard negatives.
        product: (N,) long codes.
        caption: (N,) long codes.
        attributes: (N, A) long codes.
        depth: how many nearest of its kind an anchor looks at.
        keep: how many negatives it keeps at most.
    """
    found = []
    reasons = ("same product", "same caption", "no difference", "beyond miner.keep")
    counts = dict.fromkeys(("asked", "kept", *reasons), 0)
    for code in kind[kind != UNKNOWN].unique().tolist():
        rows = (kind == code).nonzero()[:, 0]
        ranking = topk(embeddings[rows], embeddings[rows], min(depth + 1, len(rows)))
        anchor = rows[:, None].expand_as(ranking.rows)
        other = rows[ranking.rows.clamp(min=0)]
        asked = (ranking.rows >= 0) & (other != anchor)
        rank = asked.cumsum(dim=1)
        asked &= rank <= depth
        mates = asked & _equal(product, anchor, other)
        told = asked & ~mates & _equal(caption, anchor, other)
        left = asked & ~mates & ~told
        place, column = left.nonzero(as_tuple=True)
        a, b = attributes[anchor[place, column]], attributes[other[place, column]]
        differs = (a != b) & (a != UNKNOWN) & (b != UNKNOWN)
        differ = torch.zeros_like(left)
        differ[place, column] = differs.any(dim=1)
        kept = differ & (differ.cumsum(dim=1) <= keep)
        counts["asked"] += int(asked.sum())
        counts["kept"] += int(kept.sum())
        counts["same product"] += int(mates.sum())
        counts["same caption"] += int(told.sum())
        counts["no difference"] += int((left & ~differ).sum())
        counts["beyond miner.keep"] += int((differ & ~kept).sum())
        chosen = kept[place, column]
        place, column = place[chosen], column[chosen]
        found.append(
            (
                anchor[place, column],
                other[place, column],
                rank[place, column],
                ranking.scores[place, column],
                differs[chosen],
            )
        )
    if not found:
        none = torch.zeros(0, dtype=torch.long)
        empty = torch.zeros(0, attributes.shape[1], dtype=torch.bool)
        return HardPairs(none, none, none, none.double(), empty, counts)
    parts = [torch.cat(part) for part in zip(*found, strict=True)]
    order = parts[0].argsort(stable=True)
    anchors, negatives, ranks, similarities, differing = (part[order] for part in parts)
    return HardPairs(anchors, negatives, ranks, similarities, differing, counts)


def _equal(codes: Tensor, anchor: Tensor, other: Tensor) -> Tensor:
    """Whether two items have a known and equal code."""
    return (codes[anchor] == codes[other]) & (codes[anchor] != UNKNOWN)
