"""Chance, and which queries count."""

import os
from dataclasses import replace
from functools import cached_property
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.retrieval import METRICS
from fashret.functional.topk import Excluded, Ranking
from fashret.tasks.base import Search
from support.rankings import all_rankings, plain

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute


class _Given(SplitSearch):
    """A split whose queries and items have given codes."""

    def relevance_codes(self, relevance: str) -> tuple[torch.Tensor, torch.Tensor]:
        codes: Any = self.codes.product if relevance == "product" else self.codes.caption
        return codes

    @cached_property
    def searches(self) -> Any:
        groups = torch.arange(len(self.queries))
        return {
            mode: Search(mode, self.queries, self.gallery, groups) for mode in ("image", "text")
        }


def check_columns(
    of_query: list[int],
    of_item: list[int],
    excluded: list[tuple[int, int]],
    *,
    mode: str = "image",
    texts: list[int] | None = None,
) -> int:
    """Compare an evaluation with all rankings of what each query can find; returns how many count.

    Args:
        of_query: the code that each query looks for, -1 where it is not known.
        of_item: the code of each item of the gallery.
        excluded: queries and items that they must not find, sorted.
        mode: of the search.
        texts: the text of each query, -1 for none.
    """
    codes = {"product": (torch.tensor(of_query), torch.tensor(of_item))}
    if texts is not None:
        codes["pair"] = (torch.tensor(texts), torch.full((len(of_item),), -1))
    exclude = Excluded(*torch.tensor(excluded, dtype=torch.long).view(-1, 2).T)
    known: Any = SimpleNamespace(
        product=codes["product"], caption=codes.get("pair", codes["product"]), labels={}
    )
    split = _Given(
        "validation",
        RetrievalOptions(k=[1, 3], slice_metrics=[]),
        np.arange(len(of_query)),
        np.arange(len(of_item)),
        known,
        (),
    )
    searches = {mode: replace(split.searches[mode], excluded=exclude if excluded else None)}
    plan: Any = SimpleNamespace(
        prefix="val",
        options=split.options,
        searches=searches,
        tasks=[task for task in split.tasks if task.name == f"{mode}/product"],
    )
    found = [
        [row for row in range(len(of_item)) if (query, row) not in excluded]
        for query in range(len(of_query))
    ]
    width = max(map(len, found))
    rows = torch.tensor([own + [-1] * (width - len(own)) for own in found])
    columns = Evaluation.from_rankings(plan, {mode: Ranking(rows, torch.zeros(rows.shape))}).columns
    counted = 0
    for i, own in enumerate(found):
        told = mode != "text" or texts is None or texts[i] != -1
        right = [told and of_item[row] == of_query[i] != -1 for row in own]
        counted += any(right)
        for name, k in product(METRICS, (1, 3)):
            column = columns[f"val/{mode}/product/{name}@{k}"]
            if not any(right):
                assert column.chance[i].isnan()
                assert column.values[i].isnan()
                continue
            values = [plain(name, h, sum(right), k) for h in all_rankings(sum(right), len(right))]
            assert float(column.chance[i]) == pytest.approx(sum(values) / len(values))
            assert float(column.ceiling[i]) == pytest.approx(max(values))
            assert float(column.values[i]) == pytest.approx(plain(name, right, sum(right), k))
    return counted


def test_chance_counts_what_each_query_can_find() -> None:
    # Codes 0 and 1 have 3 and 2 items, 2 has one, one is unknown.
    codes, queries = [0, 1, 0, -1, 2, 1, 0], [0, 1, 3, 4]
    of_query = [codes[row] for row in queries]
    assert check_columns(of_query, codes, []) == 3
    # A query that must not find itself is neither among the relevant rows nor among the ranked:
    # item 4, the only one of its code, has nothing to find.
    assert check_columns(of_query, codes, list(enumerate(queries))) == 2


def test_chance_is_that_of_what_is_left_whatever_is_excluded() -> None:
    # Query 0 must not find two rows of its code and one of another, query 2 looks for what no item
    # has, query 3 must not find an unknown row, and query 4 is of unknown code.
    of_item = [0, 0, 0, 1, -1, 1]
    excluded = [(0, 0), (0, 2), (0, 3), (3, 4), (4, 0), (4, 4)]
    assert check_columns([0, 1, 9, 1, -1], of_item, excluded) == 3
    assert check_columns([-1, 5, 3], [-1, 2, 0], [(0, 0)]) == 0
    assert check_columns([0, 0], [5, 0, 3], []) == 2


def test_an_item_without_text_is_no_text_query() -> None:
    of_item, texts = [0, 0, 1, 1], [7, -1, 8]
    assert check_columns([0, 0, 1], of_item, [], mode="text", texts=texts) == 2
    assert check_columns([0, 0, 1], of_item, [], mode="image", texts=texts) == 3
    excluded = [(0, 0), (1, 1), (2, 3)]
    assert check_columns([0, 0, 1], of_item, excluded, mode="text", texts=texts) == 2
