"""Every ranking of a few items, and metrics by their definitions."""

import math
from collections.abc import Sequence
from itertools import combinations


def plain(name: str, hits: Sequence[bool], relevant: int, k: int) -> float:
    """A metric of one ranking, as its definition has it."""
    ranks = [rank for rank, hit in enumerate(hits[:k], start=1) if hit]
    if name == "hit":
        return float(len(ranks) > 0)
    if name == "recall":
        return len(ranks) / relevant
    if name == "precision":
        return len(ranks) / k
    if name == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if name == "map":
        return sum((i + 1) / rank for i, rank in enumerate(ranks)) / min(k, relevant)
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(k, relevant) + 1))
    return sum(1 / math.log2(1 + rank) for rank in ranks) / ideal


def all_rankings(relevant: int, ranked: int) -> list[list[bool]]:
    """Every way in which the relevant rows can lie among the ranked ones; all equally likely."""
    return [[rank in at for rank in range(ranked)] for at in combinations(range(ranked), relevant)]
