"""Keys of metrics: put together and taken apart."""

from types import SimpleNamespace
from typing import Any

from fashret.evaluation.plan import metric_keys, metric_names, search_of, task_of
from support.plans import plan_of

TASKS = [
    SimpleNamespace(name="image/product", search="image", metrics=["hit@1", "map"]),
    SimpleNamespace(name="judged", search="log", metrics=["ndcg@10"]),
]


def test_a_benchmarks_name_is_a_part_of_its_metrics_but_a_splits_is_not() -> None:
    plan: Any = SimpleNamespace(prefix="test/inshop", tasks=TASKS)
    assert metric_names(plan) == [
        "inshop/image/product/hit@1", "inshop/image/product/map", "inshop/judged/ndcg@10",
    ]  # fmt: skip
    assert metric_keys(plan) == [f"test/{name}" for name in metric_names(plan)]
    plan.prefix = "val"
    assert metric_names(plan) == ["image/product/hit@1", "image/product/map", "judged/ndcg@10"]
    assert metric_keys(plan) == [f"val/{name}" for name in metric_names(plan)]


def test_a_key_is_taken_apart_into_task_metric_and_value() -> None:
    plan: Any = SimpleNamespace(prefix="test/inshop", tasks=TASKS)
    assert task_of(plan, "test/inshop/image/product/hit@1") == ("image/product", "hit@1", "")
    assert task_of(plan, "test/inshop/judged/ndcg@10[a/b]") == ("judged", "ndcg@10", "a/b")
    plan.prefix = "val"
    assert task_of(plan, "val/image/colour/precision@10[macro]") == (
        "image/colour", "precision@10", "macro",
    )  # fmt: skip


def test_a_tasks_search_is_found_by_its_name() -> None:
    plan: Any = SimpleNamespace(tasks=TASKS, searches={"image": "photos", "log": "texts"})
    assert search_of(plan, "judged") == "texts"
    assert search_of(plan, "image/product") == "photos"
    assert search_of(plan_of([0, 1], category=[0, 0]), "text/pair").name == "text"
