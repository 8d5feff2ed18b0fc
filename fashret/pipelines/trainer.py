"""Make Lightning's trainer with its callbacks and loggers."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary, ProgressBar

from fashret.engine.callbacks import CompactProgressBar, ParameterSummary
from fashret.instantiate import instantiate

Node = Mapping[str, Any]
"""The description of an object: plain containers with a `_target_`."""


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """The descriptions of the trainer, its callbacks and loggers.

    Every run instantiates them anew, since a trainer and its callbacks belong to one run.

    Args:
        trainer: the description of the Trainer.
        callbacks: the descriptions of callbacks by name; null ones are skipped.
        loggers: the descriptions of loggers by name; null ones are skipped.
    """

    trainer: Node
    callbacks: Mapping[str, Node | None] = field(default_factory=dict)
    loggers: Mapping[str, Node | None] = field(default_factory=dict)

    @property
    def shards(self) -> bool:
        """Whether weights are sharded over processes (FSDP)."""
        return "ModelParallel" in str(self.trainer.get("strategy"))

    def with_run_folder(self, before: str, after: str) -> "TrainerOptions":
        """Return the options with another run folder in all their paths.

        Several processes compose a run folder each, but all write to that of rank 0.

        Args:
            before: the folder that paths begin with now.
            after: the folder that replaces it.
        """
        if before == after:
            return self
        moved = (
            _with_folder(dict(part), before, after)
            for part in (self.trainer, self.callbacks, self.loggers)
        )
        trainer, callbacks, loggers = moved
        return TrainerOptions(trainer=trainer, callbacks=callbacks, loggers=loggers)

    def make(self, monitor: str) -> pl.Trainer:
        """Instantiate the trainer with its callbacks and loggers.

        The progress bar is shown in a terminal or a notebook only.

        Args:
            monitor: the metric key of callbacks whose `monitor` is null.
        """
        callbacks = _instantiate_group(self.callbacks, "callbacks", monitor=monitor)
        bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        summary = any(isinstance(callback, ModelSummary) for callback in callbacks)
        if self.trainer.get("enable_model_summary", True) and not summary:
            callbacks.append(ParameterSummary())
        wanted = self.trainer.get("enable_progress_bar", True)
        show_bar = wanted and (bar or sys.stdout.isatty() or "ipykernel" in sys.modules)
        if show_bar and not bar:
            callbacks.append(CompactProgressBar())
        trainer: pl.Trainer = instantiate(
            {**self.trainer, "enable_progress_bar": show_bar},
            "trainer",
            callbacks=callbacks,
            logger=_instantiate_group(self.loggers, "logger") or False,
        )
        return trainer


def _instantiate_group(group: Mapping[str, Node | None], path: str, **defaults: str) -> list[Any]:
    """Instantiate the nodes of a group; null nodes are skipped.

    Args:
        group: the nodes by name.
        path: the key of the group, for messages.
        defaults: values for arguments that a node sets to null.
    """
    objects = []
    for name, node in group.items():
        if node is not None:
            unset = {key: value for key, value in defaults.items() if node.get(key, "") is None}
            objects.append(instantiate({**node, **unset}, f"{path}.{name}"))
    return objects


def _with_folder(value: Any, before: str, after: str) -> Any:
    """Replace the folder at the beginning of every path in plain containers."""
    if isinstance(value, Mapping):
        return {key: _with_folder(part, before, after) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_folder(part, before, after) for part in value]
    if isinstance(value, str) and (value == before or value.startswith(f"{before}/")):
        return after + value.removeprefix(before)
    return value
