"""What one evaluation consists of: searches, and tasks that judge what they find."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fashret.evaluation.options import RetrievalOptions
from fashret.tasks.base import Search, Task

KEY_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""How keys call the splits."""


class Plan(Protocol):
    """The searches and tasks of a split's scoreboard, or of a published benchmark."""

    @property
    def options(self) -> RetrievalOptions:
        """Cut-offs, slices, and the bootstrap."""
        ...

    @property
    def split(self) -> str | None:
        """Whose items ask; None for all splits."""
        ...

    @property
    def prefix(self) -> str:
        """What every key begins with: `test`, or `test/inshop`."""
        ...

    @property
    def searches(self) -> Mapping[str, Search]:
        """By name."""
        ...

    @property
    def tasks(self) -> Sequence[Task]:
        """In the order of the keys."""
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
        the task's name, the metric, and the value of a slice ("" for a whole metric).
    """
    whole, _, value = key.removeprefix(f"{plan.prefix}/").partition("[")
    task, _, metric = whole.rpartition("/")
    return task, metric, value.removesuffix("]")
