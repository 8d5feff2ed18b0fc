"""What is retrieved in place of what was asked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.split_search import SplitSearch
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class Confusion:
    """Of the queries of each value, the shares of the values among what they found.

    Attributes:
        values: V of them.
        shares: (V, V) rows are asked, columns retrieved; NaN where no query asks. A row sums to 1
            where something of a known value was found.
        queries: (V,) how many ask.
    """

    values: list[str]
    shares: Tensor
    queries: Tensor


def confusion(evaluation: Evaluation, mode: str, relevance: str) -> Confusion:
    """The confusion of a mode's rankings in the category or an attribute.

    Items of an unknown value are left out of the shares.
    """
    plan = evaluation.plan
    assert isinstance(plan, SplitSearch)
    asked, held = plan.relevance_codes(relevance)
    values = plan.codes.labels[relevance][1]
    rows = evaluation.rankings[mode].rows
    found = torch.where(rows >= 0, held[rows.clamp(min=0)], UNKNOWN)  # (Q, K)
    known = (asked[:, None] != UNKNOWN) & (found != UNKNOWN)
    pairs = (asked[:, None] * len(values) + found)[known]
    counts = torch.bincount(pairs, minlength=len(values) ** 2).double()
    counts = counts.view(len(values), len(values))
    queries = torch.bincount(asked[asked != UNKNOWN], minlength=len(values))
    return Confusion(values, counts / counts.sum(dim=1, keepdim=True), queries)
