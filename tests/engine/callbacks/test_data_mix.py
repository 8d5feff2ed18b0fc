"""What an epoch's batches were made of, counted by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fashret.data.balance import KNOWN
from fashret.engine.callbacks.data_mix import DataMix

COLOUR = torch.tensor([0, 0, 1, -1, 1, 2, -1, 0])


class Module:
    """In place of a module: keeps what is logged."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}
        self.options: dict[str, dict[str, Any]] = {}

    def log(self, name: str, value: Any, **options: Any) -> None:
        self.logged[name] = float(value)
        self.options[name] = options


def trainer_of(training: list[int] | None = None, *, boosts: Any = None, **given: Any) -> Any:
    table = SimpleNamespace(rows=lambda split: np.array([0, 1, 6]) if split == "train" else None)
    table_type = type("Table", (SimpleNamespace,), {"__len__": lambda self: 8})
    data = SimpleNamespace(
        source=SimpleNamespace(balance=boosts and SimpleNamespace(boosts=boosts)),
        codes=SimpleNamespace(labels={"colour": (COLOUR, ["red", "blue", "green"])}),
        table=table_type(**vars(table)),
        training=None if training is None else SimpleNamespace(rows=torch.tensor(training)),
    )
    return SimpleNamespace(datamodule=data, **{"world_size": 1, **given})


def epoch(mix: DataMix, trainer: Any, *batches: dict[str, list[int]]) -> Module:
    module: Any = Module()
    mix.on_train_epoch_start(trainer, module)
    for number, batch in enumerate(batches):
        parts = {name: {"index": torch.tensor(rows)} for name, rows in batch.items()}
        mix.on_train_batch_end(trainer, module, None, parts, number)
    mix.on_train_epoch_end(trainer, module)
    found: Module = module
    return found


def test_shares_are_those_of_the_items_of_an_epoch() -> None:
    boosts = {"colour": {"red": 2.0, KNOWN: 1.5}}
    trainer = trainer_of([0, 1, 2, 3, 6], boosts=boosts)
    mix, module = DataMix(), Module()
    mix.on_fit_start(trainer, module)  # type: ignore[arg-type]  # in place of a module
    first = epoch(mix, trainer, {"a": [0, 1, 2, 3]}, {"a": [2, 4, 5], "b": [3, 3, 7, 0]})
    # red: 0 and 1, then 7 and 0, of eleven; a colour is not known of three of them
    assert first.logged[f"mix/colour[{KNOWN}]"] == pytest.approx(8 / 11)
    assert first.logged["mix/colour[red]"] == pytest.approx(4 / 11)
    # half of the first part, two thirds of the second (blue), half of the third, whose two unknown
    # colours are no value
    assert first.logged["mix/largest_share[colour]"] == pytest.approx(2 / 3)
    assert first.logged["mix/items_seen"] == pytest.approx(4 / 5)  # all but 6
    assert first.options["mix/colour[red]"] == {"sync_dist": False}
    assert first.options["mix/largest_share[colour]"] == {"sync_dist": False, "reduce_fx": "max"}
    second = epoch(mix, trainer, {"a": [6, 5, 3, 3]})
    assert second.logged["mix/colour[red]"] == 0.0
    assert second.logged[f"mix/colour[{KNOWN}]"] == pytest.approx(1 / 4)
    assert second.logged["mix/largest_share[colour]"] == pytest.approx(1 / 4)
    assert second.logged["mix/items_seen"] == 1.0  # of the first epoch as well


def test_without_balance_only_the_seen_items_are_logged() -> None:
    trainer = trainer_of()
    mix = DataMix()
    mix.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    found = epoch(mix, trainer, {"a": [0, 7]})
    assert found.logged == {"mix/items_seen": pytest.approx(1 / 3)}  # of the rows 0, 1 and 6


def test_an_epoch_without_a_batch_has_no_shares() -> None:
    mix, trainer = DataMix(), trainer_of([0, 1], boosts={"colour": {"red": 2.0}})
    mix.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    assert epoch(mix, trainer).logged == {"mix/items_seen": 0.0}


def test_a_resumed_run_goes_on_counting_and_one_on_other_data_begins_anew() -> None:
    trainer = trainer_of([0, 1, 2, 3])
    mix = DataMix()
    mix.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    epoch(mix, trainer, {"a": [0, 1]})
    resumed = DataMix()
    resumed.load_state_dict(mix.state_dict())
    resumed.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    assert epoch(resumed, trainer, {"a": [2]}).logged["mix/items_seen"] == pytest.approx(3 / 4)
    other = DataMix()
    other.load_state_dict({"seen": torch.ones(5, dtype=torch.bool)})
    other.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    assert epoch(other, trainer, {"a": [2]}).logged["mix/items_seen"] == pytest.approx(1 / 4)


def test_several_processes_count_together() -> None:
    """The other process has seen the items 2 and 3."""
    asked: list[str] = []

    def reduce(seen: Tensor, reduce_op: str) -> Tensor:
        asked.append(reduce_op)
        return seen + torch.tensor([0.0, 0, 1, 1, 0, 0, 0, 0])

    trainer = trainer_of(
        [0, 1, 2, 3, 4, 5], boosts={"colour": {"red": 2.0}}, world_size=2,
        strategy=SimpleNamespace(reduce=reduce),
    )  # fmt: skip
    mix = DataMix()
    mix.on_fit_start(trainer, Module())  # type: ignore[arg-type]  # in place of a module
    found = epoch(mix, trainer, {"a": [0, 2]})
    assert asked == ["sum"]
    assert found.logged["mix/items_seen"] == pytest.approx(3 / 6)
    assert found.options["mix/colour[red]"] == {"sync_dist": True}
    assert found.options["mix/largest_share[colour]"] == {"sync_dist": True, "reduce_fx": "max"}
    assert mix.state_dict()["seen"].tolist() == [True, False, True, True] + [False] * 4
