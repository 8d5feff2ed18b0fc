"""Plans of a split over a few items with given codes, without a table."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout


def plan_of(
    product: list[int], *, k: int = 2, caption: list[int] | None = None, **values: list[int]
) -> SplitSearch:
    """Items that search one another; `values` are codes of the category and of attributes."""
    count = len(product)
    labels = {
        name: (torch.tensor(codes), [f"{name}{i}" for i in range(max(codes) + 1)])
        for name, codes in values.items()
    }
    codes: Any = SimpleNamespace(
        product=torch.tensor(product),
        caption=torch.arange(count) if caption is None else torch.tensor(caption),
        labels=labels,
    )
    rows = np.arange(count)
    return SplitSearch(
        "test", RetrievalOptions(k=[k], resamples=10), rows, rows, codes, tuple(values)
    )


def evaluation_of_photos(plan: SplitSearch, image: Tensor) -> Evaluation:
    """The evaluation of a plan by the embeddings of its photos; texts are the same."""
    embedded = SplitEmbeddings(image, image, Layout.from_widths({"general": image.shape[1]}))
    ranked = rank_split(plan, embedded)
    return Evaluation.from_rankings(plan, {mode: r for mode, (_, r) in ranked.items()})
