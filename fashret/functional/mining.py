"""Hard-negative mining: nearest items of the same category that differ in a known attribute."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.functional.topk import topk
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class HardPairs:
    """P pairs of an anchor and a hard negative, sorted by anchor and rank.

    Attributes:
        anchor: (P,) long rows of the anchors.
        negative: (P,) long rows of their hard negatives.
        rank: (P,) long rank of the negative among the anchor's nearest of its category, from 1.
        similarity: (P,) float64 inner product of the two embeddings.
        differs: (P, A) bool: the attribute is known for both items, and differs.
        counts: number of candidates that were looked at (`asked`), `kept`, and dropped by reason.
    """

    anchor: Tensor
    negative: Tensor
    rank: Tensor
    similarity: Tensor
    differs: Tensor
    counts: dict[str, int]


def hard_negatives(
    embeddings: Tensor,
    category: Tensor,
    product: Tensor,
    caption: Tensor,
    attributes: Tensor,
    *,
    depth: int,
    keep: int,
) -> HardPairs:
    """Find the nearest items of the same category that differ in a known attribute.

    Items of the same product, items with the same caption, and items without a known difference
    are never negatives. Memory is a chunk of anchors, never N x N.

    Args:
        embeddings: (N, D) float, L2-normalised.
        category: (N,) long codes; an item of unknown category has no hard negatives.
        product: (N,) long codes of products.
        caption: (N,) long codes of texts.
        attributes: (N, A) long codes of the values of A attributes.
        depth: number of nearest items of its category that are looked at for each anchor.
        keep: largest number of hard negatives per anchor.
    """
    parts = []
    reasons = ("same product", "same caption", "no difference", "beyond miner.keep")
    counts = dict.fromkeys(("asked", "kept", *reasons), 0)
    for code in category[category != UNKNOWN].unique().tolist():
        rows = (category == code).nonzero()[:, 0]
        ranking = topk(embeddings[rows], embeddings[rows], min(depth + 1, len(rows)))
        anchor = rows[:, None].expand_as(ranking.rows)
        other = rows[ranking.rows.clamp(min=0)]
        candidate = (ranking.rows >= 0) & (other != anchor)
        rank = candidate.cumsum(dim=1)
        candidate &= rank <= depth
        same_product = candidate & _equal(product, anchor, other)
        same_caption = candidate & ~same_product & _equal(caption, anchor, other)
        remaining = candidate & ~same_product & ~same_caption
        row, column = remaining.nonzero(as_tuple=True)
        a, b = attributes[anchor[row, column]], attributes[other[row, column]]
        differs = (a != b) & (a != UNKNOWN) & (b != UNKNOWN)
        negative = torch.zeros_like(remaining)
        negative[row, column] = differs.any(dim=1)
        kept = negative & (negative.cumsum(dim=1) <= keep)
        counts["asked"] += int(candidate.sum())
        counts["kept"] += int(kept.sum())
        counts["same product"] += int(same_product.sum())
        counts["same caption"] += int(same_caption.sum())
        counts["no difference"] += int((remaining & ~negative).sum())
        counts["beyond miner.keep"] += int((negative & ~kept).sum())
        chosen = kept[row, column]
        row, column = row[chosen], column[chosen]
        parts.append(
            (
                anchor[row, column],
                other[row, column],
                rank[row, column],
                ranking.scores[row, column],
                differs[chosen],
            )
        )
    if not parts:
        none = torch.zeros(0, dtype=torch.long)
        empty = torch.zeros(0, attributes.shape[1], dtype=torch.bool)
        return HardPairs(none, none, none, none.double(), empty, counts)
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    order = columns[0].argsort(stable=True)
    anchors, negatives, ranks, similarities, differing = (column[order] for column in columns)
    return HardPairs(anchors, negatives, ranks, similarities, differing, counts)


def _equal(codes: Tensor, anchor: Tensor, other: Tensor) -> Tensor:
    """Return whether two items have a known and equal code."""
    return (codes[anchor] == codes[other]) & (codes[anchor] != UNKNOWN)
