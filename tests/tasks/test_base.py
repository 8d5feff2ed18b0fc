"""Tasks and their outcomes."""

import torch

from fashret.functional.relevance import Equal
from fashret.tasks.base import Outcome, Task
from support.stages import at


def test_an_outcome_of_equal_systems_differs_by_nothing() -> None:
    task = Task("t", at(0, 10), at(0, 20), ["a", "b"], ["c", "d"],
                Equal(torch.tensor([0, 1]), torch.tensor([0, 1])), ["hit@1"])  # fmt: skip
    outcome = Outcome.of(task)
    assert outcome.against(outcome, resamples=20, seed=0)["hit@1"][:2] == (0.0, 0.0)
