"""Chance, which queries count, and the means and intervals of metrics by key."""

import math
import os
from dataclasses import replace
from functools import cached_property
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.evaluation.evaluator import Evaluation, cut_off, keys_by_queries
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.relevance import CodeRelevance
from fashret.functional.retrieval import METRICS
from fashret.functional.topk import Excluded, Ranking
from fashret.tasks.base import Search
from support.benchmarks import at, result_of, task
from support.plans import evaluation_of_photos, plan_of
from support.rankings import all_rankings, plain
from support.scoreboards import KEY, QUERIES, evaluation, noise

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


def two_tasks(k: int = 3) -> Evaluation:
    """Six photos by angle, of three products; the colour of the last is not known.

    Their neighbours by angle, without themselves: 0: 1 2 3 ...; 1: 0 2 3; 2: 1 3 0 (1 at 10, 3 at
    15, 0 at 20 degrees); 3: 2 4 1; 4: 3 5 2; 5: 4 3 2.
    """
    plan = plan_of([0, 0, 1, 2, 2, 2], k=k, category=[0, 0, 1, 1, 1, 0], colour=[0, 1, 0, 0, 2, -1])
    return evaluation_of_photos(plan, at(0, 10, 20, 35, 55, 80))


def test_queries_without_an_answer_are_counted_by_task() -> None:
    # Product 1 has one photo; of the colours 1 and 2 there is one photo each, and one is unknown.
    found = two_tasks().unanswerable()
    assert {name: found[f"image/{name}"] for name in ("product", "category", "colour")} == {
        "product": 1, "category": 0, "colour": 2,
    }  # fmt: skip


def test_hits_and_searches_are_looked_up_by_their_keys() -> None:
    found = two_tasks()
    # 0: 1 2 3, of which 1 is its product; 2 finds none; 5: 4 3 2, of which 4 and 3 are.
    assert found.hits("image/product").tolist() == [
        [True, False, False], [True, False, False], [False] * 3,
        [False, True, False], [True, True, False], [True, True, False],
    ]  # fmt: skip
    assert found.search("test/text/product/hit@3").name == "text"
    assert found.search("test/image/colour/precision@3[colour0]").name == "image"


def test_means_are_those_of_the_queries_of_each_value() -> None:
    found = two_tasks()
    means = found.means()
    # precision@3 by colour: 0 finds 2 and 3 of colour 0, as do 2 (3, 0) and 3 (2 of 2 4 1)
    values = found.columns["test/image/colour/precision@3"].values.tolist()
    assert values[:4] == pytest.approx([2 / 3, math.nan, 2 / 3, 1 / 3], nan_ok=True)
    assert math.isnan(values[4])
    assert math.isnan(values[5])
    key = "test/image/colour/precision@3"
    assert means[key] == means[f"{key}[colour0]"] == pytest.approx(5 / 9)
    assert math.isnan(means[f"{key}[colour1]"])
    assert means[f"{key}[macro]"] == pytest.approx(5 / 9)
    # by category, 0 and 1 and 5 against 2, 3 and 4: 0 finds 1; 1 finds 0; 5 finds 4, 3, 2
    key = "test/image/category/precision@3"
    own = {0: [1 / 3, 1 / 3, 0.0], 1: [1 / 3, 2 / 3, 2 / 3]}
    for code, expected in own.items():
        assert means[f"{key}[category{code}]"] == pytest.approx(sum(expected) / 3)
    assert means[key] == pytest.approx((sum(own[0]) + sum(own[1])) / 6)
    assert means[f"{key}[macro]"] == pytest.approx((sum(own[0]) + sum(own[1])) / 6)
    assert not [name for name in means if "[" in name and "precision" not in name]
    assert found.results_by_task["image/category"].means()["precision@3"] == means[key]


def test_a_macro_mean_counts_each_value_once_however_many_queries_it_has() -> None:
    values = torch.zeros(QUERIES, dtype=torch.float64)
    codes = evaluation(values).slices[KEY][0]
    values[codes == 0], values[codes == 1] = 0.25, 0.5
    values[codes == 2] = torch.nan
    made = evaluation(values)
    means = made.means()
    assert means[f"{KEY}[round]"] == 0.25
    assert means[f"{KEY}[macro]"] == pytest.approx((0.25 + 0.5) / 2)
    assert means[KEY] == pytest.approx((180 * 0.25 + 105 * 0.5) / 285)
    results = made.results()
    assert results[f"{KEY}[macro]"] == {
        "value": pytest.approx(0.375), "low": None, "high": None, "n": 2,
        "ceiling": pytest.approx(1.0), "chance": pytest.approx(0.1),
    }  # fmt: skip
    assert (results[f"{KEY}[high]"]["n"], results[f"{KEY}[high]"]["value"]) == (0, None)
    assert (results[f"{KEY}[high]"]["low"], results[f"{KEY}[high]"]["high"]) == (None, None)
    assert [results[name]["n"] for name in (KEY, f"{KEY}[round]", f"{KEY}[square]")] == [
        285, 180, 105,
    ]  # fmt: skip
    none = evaluation(torch.full((QUERIES,), torch.nan, dtype=torch.float64))
    assert math.isnan(none.means()[f"{KEY}[macro]"])
    assert none.results()[f"{KEY}[macro]"]["value"] is None
    assert none.results()[f"{KEY}[macro]"]["n"] == 0


def test_results_have_the_interval_of_a_bootstrap_over_the_queries() -> None:
    values = noise(4)
    made = evaluation(values)
    results = made.results([KEY, f"{KEY}[square]"])
    assert list(results) == [KEY, f"{KEY}[square]"]  # nothing else, and no macro mean
    rng = np.random.default_rng(5)
    codes = made.slices[KEY][0]
    for key, own in ((KEY, values), (f"{KEY}[square]", values[codes == 1])):
        number = len(own)
        drawn = own.numpy()[rng.integers(number, size=(20_000, number))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        result = results[key]
        assert result["value"] == pytest.approx(float(own.mean()))
        assert result["low"] == pytest.approx(low, abs=0.001)
        assert result["high"] == pytest.approx(high, abs=0.001)
        assert (result["n"], result["ceiling"], result["chance"]) == (
            number, 1.0, pytest.approx(0.1),
        )  # fmt: skip
    assert made.results()[KEY] == results[KEY]


def test_keys_of_the_same_queries_share_their_resamples() -> None:
    found = two_tasks()
    keys = ["test/image/product/hit@3", "test/text/pair/mrr@3", "test/fused/colour/precision@3"]
    assert keys_by_queries(found, keys) == [keys]
    other: Any = SimpleNamespace(query_rows=np.arange(6))
    apart: Any = SimpleNamespace(
        search=lambda key: other if "text" in key else found.search(key)  # other query rows
    )
    assert keys_by_queries(apart, keys) == [[keys[0], keys[2]], [keys[1]]]


def test_rankings_are_kept_as_deep_as_the_largest_cut_and_lists_as_they_are() -> None:
    plan = plan_of([0, 0, 1, 1], k=2, category=[0, 0, 0, 1])
    rows = torch.tensor([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
    scores = torch.rand(4, 3, dtype=torch.float64)
    plain = plan.tasks
    longer = [replace(task, metrics=[*task.metrics, "hit@1"]) for task in plain]
    both: Any = SimpleNamespace(
        prefix="test", options=plan.options, searches=plan.searches,
        tasks=[replace(longer[0], metrics=["hit@1"], name="first"), longer[0], longer[1]],
    )  # fmt: skip
    made = Evaluation.from_rankings(both, {"image": Ranking(rows, scores)})
    assert list(made.results_by_task) == ["first", "image/product", "image/category"]
    assert made.rankings["image"].rows.tolist() == rows[:, :2].tolist()
    assert made.rankings["image"].scores.tolist() == scores[:, :2].tolist()
    assert made.lists["image"].tolist() == rows.tolist()
    assert made.hits("first").shape == (4, 1)
    assert Evaluation.from_rankings(plan, {}).results_by_task == {}
    # A task that comes later does not make the kept ranking shorter.
    both.tasks = [both.tasks[1], both.tasks[0]]
    made = Evaluation.from_rankings(both, {"image": Ranking(rows, scores)})
    assert made.rankings["image"].rows.shape == (4, 2)


def test_a_query_without_an_answer_counts_as_zero_where_the_task_says_so() -> None:
    relevance = CodeRelevance(torch.tensor([0, 1, -1]), torch.tensor([0, 0, 2]))
    for zero, expected in ((True, [1.0, 0.0, 0.0]), (False, [1.0, math.nan, math.nan])):
        one = task(
            at(0, 50, 90), at(0, 60, 90), relevance, ["hit@1", "ndcg@2"], zero_without_answer=zero
        )
        found = result_of(one)
        assert found.columns["hit@1"].values.tolist() == pytest.approx(expected, nan_ok=True)
        ceiling = found.columns["hit@1"].ceiling.tolist()
        assert ceiling[0] == 1.0


def test_a_users_metric_has_neither_a_ceiling_nor_a_chance() -> None:
    def all_found(hits: torch.Tensor, relevant: torch.Tensor, k: int) -> torch.Tensor:
        return (hits[:, :k].sum(dim=1) == relevant.clamp(max=k)).double()

    plan = plan_of([0, 0, 0, 1], k=2, category=[0, 0, 1, 1])
    plan = replace(plan, options=RetrievalOptions(k=[2], resamples=10, metrics={"all": all_found}))
    found = evaluation_of_photos(plan, at(0, 10, 50, 20)).columns["test/image/product/all@2"]
    # 0 finds 1 and 3; 1 finds 0 and 3, at a tie; 2 finds 3 and 1; nothing is relevant to 3.
    assert found.values.tolist() == pytest.approx([0.0, 0.0, 0.0, math.nan], nan_ok=True)
    assert bool(found.ceiling.isnan().all())
    assert bool(found.chance.isnan().all())


def test_the_cut_off_is_the_number_behind_the_at_sign() -> None:
    assert cut_off("hit@10") == 10
    assert cut_off("map") is None
