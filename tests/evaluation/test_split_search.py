"""The queries, the gallery, the exclusions and the tasks of a split."""

import os
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fashret.errors import ConfigError
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.split_search import SplitSearch, _stratified_sample, relevances_of
from fashret.functional.relevance import CodeRelevance
from fashret.types import JudgedQueries
from support.plans import plan_of

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute


def test_a_sample_keeps_every_categorys_share() -> None:
    category = np.repeat([0, 1, 2], [700, 250, 50])
    codes: Any = SimpleNamespace(labels={"category": (torch.from_numpy(category), [])})
    for seed in range(5):
        rows = _stratified_sample(np.arange(1000), 100, codes, np.random.default_rng(seed))
        assert len(np.unique(rows)) == 100
        assert np.bincount(category[rows]).tolist() == pytest.approx([70, 25, 5], abs=1)


def test_a_sample_is_of_the_given_rows_and_every_row_can_be_drawn() -> None:
    rows = np.array([3, 4, 8, 9, 11, 12])
    category = torch.tensor([9, 9, 9, 0, 0, 9, 9, 9, 0, 1, 9, 1, 1])  # of the rows: 0 0 0, 1 1 1
    codes: Any = SimpleNamespace(labels={"category": (category, [])})
    drawn: set[int] = set()
    for seed in range(40):
        found = _stratified_sample(rows, 2, codes, np.random.default_rng(seed)).tolist()
        assert found == sorted(found)
        assert sorted(int(category[row]) for row in found) == [0, 1]
        drawn |= set(found)
    assert drawn == set(rows.tolist())


def table_of(
    splits: dict[str, list[int]], *, roles: Sequence[str | None] | None = None, count: int = 12
) -> Any:
    """As much of an item table as a split is chosen from."""
    return SimpleNamespace(
        splits=tuple(splits),
        rows=lambda name: np.array(splits[name], dtype=np.int64),
        photo_codes=np.arange(count),
        dataset=SimpleNamespace(column_names=[] if roles is None else ["role"]),
        column=lambda name: roles,
        categorical_columns=("category", "colour"),
    )


CODES: Any = SimpleNamespace(
    product=torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, -1, -1, 4, 4]),
    caption=torch.tensor([0, 1, 2, -1, 2, 3, 4, 5, -1, 6, 7, 8]),
    labels={
        "category": (torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1]), ["tees", "coats"]),
        "colour": (torch.tensor([0, 1, 0, 1, -1, 2, 2, 0, 1, -1, 0, 1]), ["red", "blue", "green"]),
    },
)
SPLITS = {"train": [0, 1, 2, 3], "validation": [4, 5, 6, 7, 8], "test": [9, 10, 11]}


def test_a_split_searches_itself_or_the_splits_of_the_catalog() -> None:
    own = SplitSearch.from_table(table_of(SPLITS), CODES, "validation", RetrievalOptions())
    assert own.queries.tolist() == own.gallery.tolist() == own.rows.tolist() == [4, 5, 6, 7, 8]
    assert own.prefix == "val"
    options = RetrievalOptions(catalog_splits=["test", "train", "test"])
    other = SplitSearch.from_table(table_of(SPLITS), CODES, "validation", options)
    assert other.queries.tolist() == [4, 5, 6, 7, 8]
    assert other.gallery.tolist() == [0, 1, 2, 3, 9, 10, 11]  # ascending, each split once
    assert other.rows.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("split", "catalog", "missing"),
    [("test", None, "test"), ("train", ["validation", "test"], "test")],
)
def test_a_split_that_the_data_lacks_is_named(
    split: str, catalog: list[str] | None, missing: str
) -> None:
    table = table_of({"train": [0, 1], "validation": [2, 3]})
    with pytest.raises(
        ConfigError, match=f"no split '{missing}'; its splits are train, validation"
    ):
        SplitSearch.from_table(table, CODES, split, RetrievalOptions(catalog_splits=catalog))


def test_roles_say_what_asks_and_what_is_searched() -> None:
    roles = ["query", "gallery"] * 2 + ["gallery", "gallery", "query", "query", None] + [None] * 3
    official = SplitSearch.from_table(
        table_of(SPLITS, roles=roles), CODES, "validation", RetrievalOptions()
    )
    assert official.queries.tolist() == [6, 7]
    assert official.gallery.tolist() == [4, 5]
    assert official.photos is None
    # The rows of test have no roles: all ask, and all are searched, as copies of photos are known.
    without = SplitSearch.from_table(
        table_of(SPLITS, roles=roles), CODES, "test", RetrievalOptions()
    )
    assert without.queries.tolist() == without.gallery.tolist() == [9, 10, 11]
    assert without.photos is not None
    # A gallery with roles beside queries without: the queries all ask.
    options = RetrievalOptions(catalog_splits=["train"])
    mixed = SplitSearch.from_table(table_of(SPLITS, roles=roles), CODES, "test", options)
    assert mixed.queries.tolist() == [9, 10, 11]
    assert mixed.gallery.tolist() == [1, 3]
    assert mixed.photos is None


def test_samples_of_items_and_queries_are_as_large_as_asked() -> None:
    splits = {"train": list(range(12))}
    whole = SplitSearch.from_table(
        table_of(splits), CODES, "train", RetrievalOptions(max_items=12, max_queries=12)
    )
    assert whole.queries.tolist() == whole.gallery.tolist() == list(range(12))
    few = SplitSearch.from_table(table_of(splits), CODES, "train", RetrievalOptions(max_items=4))
    assert len(few.gallery) == 4
    assert few.queries.tolist() == few.gallery.tolist()  # what the gallery holds has its matches
    asked = SplitSearch.from_table(
        table_of(splits), CODES, "train", RetrievalOptions(max_queries=4)
    )
    assert len(asked.queries) == 4
    assert asked.gallery.tolist() == list(range(12))
    # Queries of another split are never in the gallery, and all are kept.
    options = RetrievalOptions(catalog_splits=["train"], max_items=2)
    apart = SplitSearch.from_table(table_of(SPLITS), CODES, "validation", options)
    assert apart.queries.tolist() == [4, 5, 6, 7, 8]
    assert len(apart.gallery) == 2


def excluded_pairs(plan: SplitSearch) -> set[tuple[int, int]]:
    excluded = plan.searches["image"].excluded
    assert excluded is not None
    queries = excluded.queries.tolist()
    assert queries == sorted(queries)
    return set(zip(queries, excluded.rows.tolist(), strict=True))


@pytest.mark.parametrize("exclude", ["self", "product"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_excluded_is_that_of_a_loop_where_the_queries_are_not_the_gallery(
    exclude: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    products = rng.integers(-1, 6, 30)
    photos = rng.integers(0, 20, 30)
    codes: Any = SimpleNamespace(product=torch.from_numpy(products))
    queries: NDArray[np.int64] = np.sort(rng.choice(30, 9, replace=False))
    gallery: NDArray[np.int64] = np.sort(rng.choice(30, 21, replace=False))
    options = RetrievalOptions(exclude=exclude)
    plan = SplitSearch("test", options, queries, gallery, codes, (), photos)

    def is_out(query: int, item: int) -> bool:
        one_product = exclude == "product" and products[query] == products[item] != -1
        return bool(photos[query] == photos[item] or one_product)

    expected = {
        (i, j)
        for i, query in enumerate(queries)
        for j, item in enumerate(gallery)
        if is_out(int(query), int(item))
    }
    assert excluded_pairs(plan) == expected
    alone = replace(plan, photos=None)  # every photo is another one
    own = {(i, j) for i, j in expected if queries[i] == gallery[j]}
    if exclude == "self":
        assert excluded_pairs(alone) == own


def test_texts_exclude_nothing_and_nothing_is_excluded_where_none_is_asked() -> None:
    plan = plan_of([0, 0, 1], category=[0, 0, 1])
    assert list(plan.searches) == ["image", "text", "fused"]
    assert plan.searches["text"].excluded is None
    assert plan.searches["fused"].excluded is not None
    everything = replace(plan, options=RetrievalOptions(k=[2], exclude="none"))
    assert all(search.excluded is None for search in everything.searches.values())


def test_a_search_has_the_products_of_its_queries_and_of_its_gallery() -> None:
    queries, gallery = np.array([1, 6, 8]), np.array([0, 1, 2, 3, 9])
    plan = SplitSearch("train", RetrievalOptions(), queries, gallery, CODES, ("category",))
    search = plan.searches["image"]
    assert search.groups.tolist() == [0, 3, -1]
    assert search.gallery_groups is not None
    assert search.gallery_groups.tolist() == [0, 0, 1, 1, -1]
    assert search.units is None
    assert (search.query_rows.tolist(), search.gallery_rows.tolist()) == (
        [1, 6, 8], [0, 1, 2, 3, 9],
    )  # fmt: skip
    products = replace(plan, options=RetrievalOptions(by="product")).searches["image"]
    assert products.units is not None
    assert products.units.tolist() == [0, 0, 1, 1, 2]  # the last has no product: its own unit


def test_tasks_are_those_of_each_mode_and_relevance() -> None:
    assert relevances_of("text") == ("product", "pair")
    assert relevances_of("image") == relevances_of("fused") == ("product",)
    mine: Any = len
    options = RetrievalOptions(k=[1, 5], metrics={"mine": mine})
    plan = SplitSearch.from_table(table_of(SPLITS), CODES, "train", options)
    tasks = {task.name: task for task in plan.tasks}
    described = ("product", "category", "colour")
    assert list(tasks) == [
        *(f"image/{name}" for name in described),
        *(f"text/{name}" for name in ("product", "pair", "category", "colour")),
        *(f"fused/{name}" for name in described),
    ]
    names = ("hit", "recall", "precision", "map", "mrr", "ndcg", "mine")
    for name, task in tasks.items():
        assert task.search == name.partition("/")[0]
        assert sorted(task.metrics) == sorted(f"{metric}@{k}" for metric in names for k in (1, 5))
    assert list(tasks["image/product"].headlines) == ["hit@5", "mine@5"]
    assert list(tasks["image/colour"].headlines) == ["precision@5", "mine@5"]
    assert list(tasks["text/pair"].headlines) == ["hit@5", "mine@5"]
    assert list(tasks["text/colour"].headlines) == ["precision@5"]
    assert list(tasks["fused/product"].headlines) == ["hit@5"]
    assert tasks["image/product"].values is tasks["text/pair"].values is None
    values = tasks["image/colour"].values
    assert values is not None
    assert (values[0].tolist(), values[1]) == ([0, 1, 0, 1], ["red", "blue", "green"])


def test_relevance_is_of_the_queries_and_of_the_gallery_and_only_texts_ask_by_text() -> None:
    queries, gallery = np.array([2, 3, 5]), np.array([0, 4, 8])
    plan = SplitSearch("train", RetrievalOptions(), queries, gallery, CODES, ("category", "colour"))
    by_name = {task.name: task.relevance for task in plan.tasks}

    def codes(name: str) -> tuple[list[int], list[int]]:
        relevance = by_name[name]
        assert isinstance(relevance, CodeRelevance)
        return relevance.query_codes.tolist(), relevance.document_codes.tolist()

    assert codes("image/product") == ([1, 1, 2], [0, 2, -1])
    assert codes("image/colour") == ([0, 1, 2], [0, -1, 1])
    # Row 3 has no text, so that it is no text query.
    assert codes("text/product") == ([1, -1, 2], [0, 2, -1])
    assert codes("text/pair") == ([2, -1, 3], [0, 2, -1])
    assert codes("fused/category") == ([1, 1, 0], [0, 0, 0])


def test_judged_queries_are_all_of_the_split_or_a_sample_without_repeats() -> None:
    count = 30
    queries = JudgedQueries(
        [f"q{i}" for i in range(count)], ["train"] * 20 + ["test"] * 10, torch.arange(count),
        torch.arange(count) % 4, torch.ones(count).double(), torch.ones(count).double(),
        torch.arange(count),
    )  # fmt: skip
    table = table_of(SPLITS)
    whole = SplitSearch.from_table(table, CODES, "train", RetrievalOptions(), {"log": queries})
    assert list(whole.judged["log"].queries.texts) == [f"q{i}" for i in range(20)]
    for seed in range(5):
        options = RetrievalOptions(max_queries=15, seed=seed)
        some = SplitSearch.from_table(table, CODES, "train", options, {"log": queries})
        names = list(some.judged["log"].queries.texts)
        assert len(set(names)) == len(names) == 15
        assert set(names) <= set(whole.judged["log"].queries.texts)
    assert whole.judged["log"].source == "log"
    (asked,) = (task for task in whole.tasks if task.search == "log")
    assert (asked.name, list(asked.headlines)) == ("text/judged", ["ndcg@10"])
    # The items of the split test are not judged, so that it has no such search.
    none = SplitSearch.from_table(table, CODES, "test", RetrievalOptions(), {"log": queries})
    assert not none.judged
    assert list(none.searches) == ["image", "text", "fused"]
