"""The plan of an evaluation: its searches, and the tasks that define metrics on them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fashret.evaluation.options import RetrievalOptions
from fashret.tasks.base import Search, Task

KEY_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""The names of the splits in metric keys."""


class Plan(Protocol):
    """The searches and tasks of a split's scoreboard or of a published benchmark (an interface)."""

    @property
    def options(self) -> RetrievalOptions:
        """The options of the evaluation: cut-offs, slices, bootstrap."""
        ...

    @property
    def split(self) -> str | None:
        """The split of the queries; None for all splits."""
        ...

    @property
    def prefix(self) -> str:
        """The prefix of every metric key, such as `test` or `test/inshop`."""
        ...

    @property
    def searches(self) -> Mapping[str, Search]:
        """The searches by name."""
        ...

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks in the order of the metric keys."""
        ...


def search_of(plan: Plan, task: str) -> Search:
    """Return the search of a task, by the task's name."""
    return plan.searches[next(one.search for one in plan.tasks if one.name == task)]


def metric_names(plan: Plan) -> list[str]:
    """Name every metric of a plan, without its split and slices: image/product/hit@10."""
    inner = plan.prefix.partition("/")[2]
    stem = f"{inner}/" if inner else ""
    return [f"{stem}{task.name}/{metric}" for task in plan.tasks for metric in task.metrics]


def metric_keys(plan: Plan) -> list[str]:
    """Name every metric of a plan as its keys do, without slices: val/image/product/hit@10."""
    return [f"{plan.prefix}/{task.name}/{metric}" for task in plan.tasks for metric in task.metrics]


def task_of(plan: Plan, key: str) -> tuple[str, str, str]:
    """Take a metric's key apart.

    Returns:
        The task's name, the metric, and the value of a slice ("" for the metric over all queries).
    """
    whole, _, value = key.removeprefix(f"{plan.prefix}/").partition("[")
    task, _, metric = whole.rpartition("/")
    return task, metric, value.removesuffix("]")
