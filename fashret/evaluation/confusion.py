"""Confusion matrices of retrieval: which values are retrieved for queries of each value."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.split_search import SplitSearch
from fashret.types import UNKNOWN


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of an attribute's values in retrieval.

    Attributes:
        values: the V values.
        shares: (V, V) float64; row: the query's value, column: the share of retrieved items with
            that value. A row sums to 1; it is NaN if no item with a known value was retrieved.
        queries: (V,) long number of queries of each value.
    """

    values: list[str]
    shares: Tensor
    queries: Tensor


def confusion(evaluation: Evaluation, mode: str, relevance: str) -> Confusion:
    """Compute the confusion matrix of the category or an attribute over all retrieved items.

    Queries and items with an unknown value are not counted.

    Args:
        evaluation: the evaluation of a split.
        mode: the query mode: image, text or fused.
        relevance: `category` or the name of an attribute.
    """
    plan = evaluation.plan
    assert isinstance(plan, SplitSearch)
    query_codes, gallery_codes = plan.relevance_codes(relevance)
    values = plan.codes.labels[relevance][1]
    rows = evaluation.rankings[mode].rows
    retrieved = torch.where(rows >= 0, gallery_codes[rows.clamp(min=0)], UNKNOWN)  # (Q, K)
    known = (query_codes[:, None] != UNKNOWN) & (retrieved != UNKNOWN)
    pairs = (query_codes[:, None] * len(values) + retrieved)[known]
    counts = torch.bincount(pairs, minlength=len(values) ** 2).double()
    counts = counts.view(len(values), len(values))
    queries = torch.bincount(query_codes[query_codes != UNKNOWN], minlength=len(values))
    return Confusion(values, counts / counts.sum(dim=1, keepdim=True), queries)
