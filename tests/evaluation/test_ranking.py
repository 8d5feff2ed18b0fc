"""Copies of a photo do not count as hits."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout


def at(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


@pytest.mark.parametrize("exclude", ["self", "product", "none"])
def test_a_copy_of_the_query_is_no_hit(exclude: str) -> None:
    # Rows 0 and 1 are copies, of product a; row 2 is another photo of a; rows 3 and 4 are copies,
    # of product b, once per size. Row 5, of product c, shows the photo of a as well.
    options = RetrievalOptions(
        k=[1], exclude=exclude, weight_image=0.7, candidates=None, catalog_splits=None,
        slice_metrics=[], max_queries=None, max_items=None, seed=0, resamples=10,
    )  # fmt: skip
    known: Any = SimpleNamespace(
        product=torch.tensor([0, 0, 0, 1, 1, 2]),
        caption=torch.arange(6),
        labels={"category": (torch.zeros(6, dtype=torch.long), ["shirts"])},
    )
    rows, photos = np.arange(6), np.array([0, 0, 2, 3, 3, 0])
    plan = SplitSearch("test", options, rows, rows, known, ("category",), photos)
    image = at(0, 0, 30, 90, 90, 0)
    embedded = SplitEmbeddings(image, image, Layout.from_widths({"general": 2}))
    found = Evaluation.from_rankings(
        plan, {m: r for m, (_, r) in rank_split(plan, embedded).items()}
    )
    recall = found.columns["test/image/product/recall@1"]
    nan = float("nan")
    expected = {
        # 0 and 1 find row 2 of their one relevant item; 2 finds one of its two; nothing but its own
        # copy is relevant to 3 and to 4, and nothing to 5: they do not count
        "self": [1.0, 1.0, 0.5, nan, nan, nan],
        "product": [nan] * 6,
        # 0, 1 and 5 find row 0, of three relevant ones for 0 and 1, and the one of product c, row
        # 5, is not the first of equals; 2 finds itself; 3 and 4 find 3
        "none": [1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0.0],
    }[exclude]
    torch.testing.assert_close(
        recall.values, torch.tensor(expected, dtype=torch.float64), equal_nan=True
    )
    if exclude == "self":
        # the best that can be reached with one item: 1 of 1, 1 of 1, 1 of 2
        assert recall.ceiling[:3].tolist() == [1.0, 1.0, 0.5]
        assert found.unanswerable()["image/product"] == 3
    excluded = plan.searches["image"].excluded
    pairs = set() if excluded is None else set(zip(*(t.tolist() for t in excluded), strict=True))
    of_a = {(i, j) for i in (0, 1, 5) for j in (0, 1, 5)}
    own = {(i, i) for i in range(6)} | of_a | {(3, 4), (4, 3)}
    more = {(i, j) for i in range(3) for j in range(3)}
    assert pairs == {"self": own, "product": own | more, "none": set()}[exclude]


def test_official_roles_exclude_no_more_than_before() -> None:
    table: Any = SimpleNamespace(
        splits=("test",),
        rows=lambda split: np.arange(4),
        photo_codes=np.zeros(4, dtype=np.int64),
        dataset=SimpleNamespace(column_names=["role"]),
        column=lambda name: ["query", "gallery", "query", "gallery"],
        categorical_columns=("category",),
    )
    given: Any = SimpleNamespace(
        catalog_splits=None, max_items=None, max_queries=None, seed=0, exclude="self", by="item"
    )
    known: Any = SimpleNamespace(product=torch.arange(4))
    found = SplitSearch.from_table(table, known, "test", given)
    assert found.photos is None
    excluded = found.searches["image"].excluded
    assert excluded is not None
    assert len(excluded.queries) == 0
