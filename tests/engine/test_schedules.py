"""Learning rates by their values, step by step."""

import math
from itertools import pairwise

import pytest
import torch

from fashret.engine.schedules import constant, warmup_cosine
from fashret.errors import ConfigError


def rates(steps: int, *, peak: float = 2.0, **options: float) -> list[float]:
    """The learning rate at each of the first steps of a schedule."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = warmup_cosine(optimizer, **options)  # type: ignore[arg-type]  # epochs is an int
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_rate_rises_linearly_and_falls_by_half_a_cosine() -> None:
    # 5 steps an epoch for 4 epochs are 20 steps; a fifth of them, 4 steps, is the rise to 2.
    found = rates(26, steps_per_epoch=5, epochs=4, warmup=0.2, final=0.1)
    assert found[:5] == pytest.approx([2 * 1 / 5, 2 * 2 / 5, 2 * 3 / 5, 2 * 4 / 5, 2.0])
    # A quarter, a half and three quarters of the 16 steps down, between 2 and a tenth of it.
    half_cosines = {8: (1 + math.sqrt(0.5)) / 2, 12: 0.5, 16: (1 - math.sqrt(0.5)) / 2}
    for step, share in half_cosines.items():
        assert found[step] == pytest.approx(2 * (0.1 + 0.9 * share)), step
    assert found[20:] == pytest.approx([0.2] * 6)  # the end, and whoever trains on after it
    assert all(later < sooner for sooner, later in pairwise(found[4:21]))


def test_a_schedule_without_a_rise_begins_at_the_peak() -> None:
    # 1 + cos(pi step / 4), halved
    found = rates(5, peak=1.0, steps_per_epoch=4, epochs=1, warmup=0.0, final=0.0)
    assert found == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0])


def test_a_schedule_that_only_rises_ends_at_the_peak() -> None:
    # All 4 steps rise, by a fifth of the peak each; the fifth step is the first that does not.
    found = rates(6, peak=1.0, steps_per_epoch=2, epochs=2, warmup=1.0, final=0.5)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 0.5])


def test_a_fraction_of_a_step_an_epoch_makes_one_step_at_least() -> None:
    # Gradients accumulated over 4 epochs: 0.25 steps an epoch, half a step in all, counted as 1.
    found = rates(2, peak=1.0, steps_per_epoch=0.25, epochs=2, warmup=0.0, final=0.3)
    assert found == pytest.approx([1.0, 0.3])
    # The same with a rise over all of the one step: (0 + 1) / (1 + 1), then the end.
    found = rates(3, peak=1.0, steps_per_epoch=0.25, epochs=2, warmup=1.0, final=0.3)
    assert found == pytest.approx([0.5, 1.0, 0.3])
    # 1.5 steps: at step 1 two thirds of the way down, (1 + cos(2 pi / 3)) / 2 = 0.25
    found = rates(3, peak=1.0, steps_per_epoch=0.5, epochs=3, warmup=0.0, final=0.0)
    assert found == pytest.approx([1.0, 0.25, 0.0])


@pytest.mark.parametrize(("epochs", "warmup"), [(0, 0.1), (-1, 0.1), (3, -0.1), (3, 1.1)])
def test_a_schedule_that_cannot_be_is_answered(epochs: int, warmup: float) -> None:
    message = rf"scheduler.epochs={epochs} scheduler.warmup={warmup}: epochs must be at least 1"
    with pytest.raises(ConfigError, match=message):
        rates(1, steps_per_epoch=5, epochs=epochs, warmup=warmup, final=0.0)


def test_a_constant_rate_stays() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = constant(optimizer, steps_per_epoch=5)
    for _ in range(12):
        assert optimizer.param_groups[0]["lr"] == 0.3
        optimizer.step()
        schedule.step()
