"""Hard-negative mining: nearest items of the same category that differ in a known attribute."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.functional.judged import JudgedPairs
from fashret.functional.neighbour_blocks import neighbours
from fashret.functional.topk import topk
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class HardPairs:
    """P pairs of an anchor and a hard negative, sorted by anchor and rank.

    Attributes:
        anchor: (P,) long rows of the anchors.
        negative: (P,) long rows of their hard negatives.
        rank: (P,) long rank of the negative among the anchor's nearest of its category, from 1.
        similarity: (P,) float64 inner product of the two embeddings, to single precision.
        differs: (P, A) bool: the attribute is known for both items, and differs.
        counts: number of candidates that were looked at (`asked`), `kept`, and dropped by reason.
        recall: share of the nearest that were looked at; below 1 where a category was so large that
            they were looked for in blocks (`neighbours`).
    """

    anchor: Tensor
    negative: Tensor
    rank: Tensor
    similarity: Tensor
    differs: Tensor
    counts: dict[str, int]
    recall: float = 1.0


def hard_negatives(
    embeddings: Tensor,
    category: Tensor,
    product: Tensor,
    caption: Tensor,
    attributes: Tensor,
    *,
    depth: int,
    keep: int,
    exact_up_to: int | None = None,
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
        exact_up_to: largest category all of whose pairs are compared; None for any.
    """
    parts = []
    reasons = ("same product", "same caption", "no difference", "beyond miner.keep")
    counts = dict.fromkeys(("asked", "kept", *reasons), 0)
    found, known = 0.0, category[category != UNKNOWN]
    for code in known.unique().tolist():
        rows = (category == code).nonzero()[:, 0]
        own = embeddings[rows]
        ranking = neighbours(own, min(depth + 1, len(rows)), exact_up_to=exact_up_to)
        found += ranking.recall * len(rows)
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
    recall = found / len(known)
    return HardPairs(anchors, negatives, ranks, similarities, differing, counts, recall)


def query_hard_negatives(
    queries: Tensor,
    documents: Tensor,
    judged: JudgedPairs,
    rows: Tensor,
    *,
    skip: int,
    depth: int,
    keep: int,
    margin: float,
) -> HardPairs:
    """Find the nearest documents of each query that were not judged relevant for it.

    What was not judged may be relevant, the more so the nearer it is. So the first `skip` ranks are
    left out, and documents that are nearer than the query's relevant ones are on average, less a
    margin (as `mine_hard_negatives` of sentence-transformers does).

    Args:
        queries: (Q, D) float embeddings of the queries, L2-normalised.
        documents: (n, D) float embeddings of the documents, L2-normalised.
        judged: the judgments; a document of grade 0 is a negative at any rank.
        rows: (n,) long rows of the documents in the item table, ascending.
        skip: ranks that are left out.
        depth: ranks that are looked at after those.
        keep: largest number of hard negatives per query.
        margin: a negative's similarity is at most the mean of the query's relevant documents less
            this margin.

    Returns:
        The pairs; anchors are queries, negatives positions in `rows`, and they differ in nothing.
    """
    relevant = judged.grade > 0
    position = torch.searchsorted(rows, judged.row[relevant])
    query = judged.query[relevant]
    similarity = (queries[query] * documents[position]).sum(dim=1).double()
    totals = torch.zeros(len(queries), dtype=torch.float64).index_add_(0, query, similarity)
    counts = torch.bincount(query, minlength=len(queries))
    least = totals / counts.clamp(min=1) - margin
    ranking = topk(queries, documents, min(skip + depth, len(documents)))
    rank = torch.arange(1, ranking.rows.shape[1] + 1).expand_as(ranking.rows)
    grade = judged.grades_of(torch.arange(len(queries)), rows[ranking.rows.clamp(min=0)])
    known = ranking.rows >= 0
    in_window = (rank > skip) & (ranking.scores <= least[:, None])
    negative = known & ((grade == 0) | ((grade < 0) & in_window))
    kept = negative & (negative.cumsum(dim=1) <= keep)
    row, column = kept.nonzero(as_tuple=True)
    return HardPairs(
        row,
        ranking.rows[row, column],
        rank[row, column],
        ranking.scores[row, column],
        torch.zeros(len(row), 0, dtype=torch.bool),
        {
            "asked": int(known.sum()),
            "kept": int(kept.sum()),
            "judged relevant": int((known & (grade > 0)).sum()),
            "too near or outside the ranks": int((known & (grade < 0) & ~in_window).sum()),
            "beyond miner.keep": int((negative & ~kept).sum()),
        },
    )


def _equal(codes: Tensor, anchor: Tensor, other: Tensor) -> Tensor:
    """Return whether two items have a known and equal code."""
    return (codes[anchor] == codes[other]) & (codes[anchor] != UNKNOWN)
